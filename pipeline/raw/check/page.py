"""The report of a check as one self-contained HTML file."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipeline.raw.check.text import common_found, count_findings, format_facts, format_locations, group_findings

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
body { max-width: 90rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem; border-bottom: 1px solid #8886; }
th { white-space: nowrap; }
.error { border-left: 4px solid #d33; } .warning { border-left: 4px solid #e69f00; }
.finding { padding: .25rem 1rem; margin: 1rem 0; } .finding p { margin: .25rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .75rem; margin: .25rem 0; }
dt { opacity: .65; } dd { margin: 0; }
.sheet { overflow-x: auto; } .sheet img { width: 100%; min-width: 48rem; max-width: max-content; }
"""

_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; img-src data:; base-uri 'none'; form-action 'none'"
"""No scripts, no other styles than those of the page, no other images than the embedded one."""


def html_page(report: Mapping[str, Any], sheet: bytes) -> str:
    """Format a report as HTML; all texts are escaped.

    Parameters
    ----------
    report : mapping
        See `pipeline.raw.check.run`.
    sheet : bytes
        The contact sheet, PNG.
    """
    title = f"Check of {report['dataset']}: {count_findings(report)}"
    subtitle = f"Layout {report['layout']}, {report['root']}, {report['origin']}"
    rows = "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in format_facts(report))
    findings = "\n".join(map(_finding, group_findings(report["findings"]))) or "<p>No errors or warnings.</p>"
    image = base64.b64encode(sheet).decode("ascii")
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<h1>{escape(title)}</h1>
<p>{escape(subtitle)}</p>
<h2>Errors and warnings</h2>
{findings}
<h2>Contents</h2>
<table>
{rows}
</table>
<h2>Samples with their masks</h2>
<p>Each class but the background is tinted and outlined; ignored pixels are striped in grey. If the tint misses
the objects, masks may be swapped; if it covers everything but the objects, masks may be inverted. Images of
more than 8 bits are stretched from their darkest to their brightest pixel.</p>
<div class="sheet"><img alt="contact sheet" src="data:image/png;base64,{image}"></div>
</html>
"""


def _finding(group: Sequence[Mapping[str, Any]]) -> str:
    row, locations = group[0], [escape(location) for location in format_locations(group)]
    severity = escape(row["severity"])
    texts = {"found": common_found(group), "expected": row["expected"], "remedy": row["remedy"]}
    lines = "\n".join(f"<dt>{key}</dt><dd>{escape(text)}</dd>" for key, text in texts.items() if text is not None)
    heading = locations[0] if len(locations) == 1 else f"{len(locations)} times"
    items = "".join(f"<li>{location}</li>" for location in locations) if len(locations) > 1 else ""
    return (
        f'<div class="finding {severity}"><p><b>{severity}: {escape(row["kind"])}</b> {heading}</p>\n'
        f"{f'<ul>{items}</ul>' if items else ''}<dl>{lines}</dl></div>"
    )
