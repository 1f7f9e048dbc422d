"""Hooks of mkdocs.yml: README, CONTRIBUTING, CHANGELOG and the cards of models as pages, and links out of docs/.

In a clone these files stand outside docs/, and pages link to them as a clone has them. On the site README.md is
index.md, the two others have names in lower case, and a card stands below models/. A link to any other file outside
docs/, for example a recipe, becomes the file's name: the site holds no sources.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
# The file in a clone -> its page.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    **{f"tunable/models/{path.name}": f"cards/{path.name}" for path in (ROOT / "tunable" / "models").glob("*.md")},
}
LINK = re.compile(r"(!?)\[((?:[^\]\\]|\\.)*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand outside docs/."""
    for source, page in PAGES.items():
        text = rewritten((ROOT / source).read_text(encoding="utf-8"), source, page)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page of docs/."""
    place = page.file.src_uri
    if place.startswith("results/") and not place.endswith("README.md"):
        page.meta["search"] = {"exclude": True}  # tables of every picture
    return markdown if place in PAGES.values() else rewritten(markdown, f"docs/{place}", place)


def rewritten(text: str, source: str, page: str) -> str:
    """Return a page whose links are those of the site.

    Args:
        text: the page as a clone has it.
        source: where in the clone it stands.
        page: where on the site.
    """

    def link(match: re.Match[str]) -> str:
        mark, words, target, section = match.groups()
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        place = normpath(PurePosixPath(source).parent / target)
        on_site = PAGES.get(place) or place.removeprefix("docs/")
        if on_site == place:  # outside docs/, and no page
            return f"{words} (`{place}`)" if place.rpartition("/")[2] not in words else words
        if (ROOT / place).is_dir():
            return f"{words} (`{place}`)"
        return f"{mark}[{words}]({relpath(on_site, str(PurePosixPath(page).parent))}{section or ''})"

    return "".join(part if part.startswith("`") else LINK.sub(link, part) for part in CODE.split(text))
