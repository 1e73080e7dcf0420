"""The page itself: template, style and script put together into one HTML file that asks for nothing."""

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
_SCRIPTS = ("core.js", "tables.js", "figures.js", "scatter.js", "cases.js")


def assemble(*, data: Mapping[str, Any], images: list[str], **shown: Any) -> str:  # noqa: ANN401 - what the template shows
    """Write the page.

    Every text is escaped by the template, and data for the script stands in blocks that are no script. The page's
    policy lets run only the two scripts that it is written with, each known by its digest, and loads nothing from
    anywhere: not even a name that got through could do more than be shown.

    Parameters
    ----------
    data : mapping
        What the figures are drawn from.
    images : list of str
        Encoded images, which `data` counts on by their places.
    **shown
        What the template asks for.
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
        # files of this package and of plotly, no data
        style=Markup((_ASSETS / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        plotly=Markup(plotly),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=_policy(plotly, script),
        data=as_block(data),
        images=as_block(images),
        **shown,
    )


def as_block(value: Any) -> Markup:  # noqa: ANN401 - any plain data
    """Write plain data as JSON that can stand between ``<script>`` tags: nothing in it opens or ends one."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _policy(*scripts: str) -> str:
    """Return a content security policy: these scripts, images that stand in the page, and nothing else."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    # the plots set styles of their own; an image of a plot is saved by way of a blob
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
