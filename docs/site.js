// A wide table scrolls in a box of its own, which the theme makes; here the box can be reached by keys.
const reachable = () => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) {
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "table");
  }
};
new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
reachable();
