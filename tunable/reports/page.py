"""HTML pages from Jinja2 templates; pictures are embedded, so that a page is one file."""

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_environment = Environment(
    loader=PackageLoader("tunable.reports"),
    autoescape=select_autoescape(["html.j2", "html"]),
    undefined=StrictUndefined,
)


def embedded(path: str | Path) -> str:
    """A PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def render(template: str, **values) -> str:
    """Render a template of tunable/reports/templates."""
    return _environment.get_template(template).render(**values)
