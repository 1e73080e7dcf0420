"""Render template, style and scripts into one self-contained HTML page without network requests."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("core.js", "tables.js", "figures.js", "images.js")


def assemble(*, data: Mapping[str, Any], images: list[str], **context: Any) -> str:  # noqa: ANN401 - variables of the template
    """Render the report.

    The template escapes every text, and data for the script is in JSON blocks that are not executed. The content
    security policy allows only the two scripts of the page, by their digests, and no network requests, so that a name
    that is not escaped still cannot run code.

    Parameters
    ----------
    data : mapping
        Data of the figures.
    images : list of str
        Encoded images; `data` refers to them by index.
    **context
        Other variables of the template.
    """
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plotly = get_plotlyjs()
    script = "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    script = f'(() => {{\n"use strict";\n{script}\n}})();'
    return environment.get_template("page.html").render(
        # files of this package and of plotly, not data
        style=Markup((_ASSETS / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        plotly=Markup(plotly),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=_policy(plotly, script),
        data=json_block(data),
        images=json_block(images),
        **context,
    )


def json_block(value: Any) -> Markup:  # noqa: ANN401 - any plain data
    """Encode plain data as JSON for a ``<script>`` element: no text in it can open or close a tag."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _policy(*scripts: str) -> str:
    """Return a content security policy that allows these scripts and embedded images, and nothing else."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    # Plotly sets inline styles, and saves an image of a plot through a blob URL
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
