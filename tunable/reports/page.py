"""HTML pages from Jinja2 templates; pictures are embedded, so that a page is one file."""

import base64
from pathlib import Path
from typing import Any


def embedded(path: str | Path) -> str:
    """Return a PNG file as a data URL."""
    return png_url(Path(path).read_bytes())


def png_url(content: bytes) -> str:
    """Return the bytes of a PNG as a data URL."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def render(template: str, **values: Any) -> str:
    """Render a template of tunable/reports/templates with its values; what it names and is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape  # here: few commands write pages

    environment = Environment(
        loader=PackageLoader("tunable.reports"),
        autoescape=select_autoescape(["html.j2", "html"]),
        undefined=StrictUndefined,
    )
    return environment.get_template(template).render(**values)
