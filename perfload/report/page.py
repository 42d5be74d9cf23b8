"""A self-contained HTML page with charts: what the report of a run and that of a sweep have in common.

Its content security policy allows the two scripts in it, by their hashes, and nothing else: no request to
anywhere, no inline handler. What comes from outside is escaped as well (`perfload.report.markup`,
`perfload.report.escape`); the policy is the second lock.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from string import Template

from plotly.offline import get_plotlyjs

from perfload.report.drawing import Figure
from perfload.report.escape import script_json
from perfload.report.markup import Markup, element, escaped


def page(title: str, body: Markup, figures: Mapping[str, Figure]) -> str:
    """Return a document that opens with no network; `body` has a `chart` for each of `figures`, by name."""
    plotly, script = get_plotlyjs(), _asset("report.js")
    return Template(_asset("report.html")).substitute(
        policy=_policy(plotly, script),
        title=escaped(title),
        style=_asset("report.css"),
        body=body,
        figures=script_json(figures),
        plotly=plotly,
        script=script,
    )


def _asset(name: str) -> str:
    return resources.files("perfload.report").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Return a policy that lets exactly `scripts` run. Plotly sets styles, hence 'unsafe-inline'."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def chart(name: str, title: str, figure: Figure, *, log: bool = False) -> Markup:
    """Return the place of a chart; with `log`, a button changes the scale of its y axis."""
    toggle = Markup()
    if log:
        is_log = figure["layout"]["yaxis"].get("type") == "log"
        toggle = element(
            "button", "Log scale", type="button", data_log=name, aria_pressed=str(is_log).lower()
        )
    height = f"--height: {figure['layout']['height']}px"
    return element(
        "figure",
        element("div", element("h3", title), toggle, class_="head"),
        element("div", class_="chart", data_figure=name, style=height, role="img", aria_label=title),
    )
