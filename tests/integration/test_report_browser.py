"""The report in a real browser: its charts are drawn, and hostile text runs no script."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from perfload.analysis.summary import summarise
from perfload.report.html import render
from tests.unit.report.clusters import busy_record, cluster_record
from tests.unit.report.records import (
    empty_record,
    empty_summary,
    five_phase_record,
    five_phase_summary,
    hostile_record,
    hostile_summary,
)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=10000",
    "--window-size=1280,2000",
)
MARK = "<script>document.documentElement.dataset.hacked=1</script>"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: the report is not opened in a browser"),
]


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens HTML and gives back the DOM after its scripts ran, and the console."""

    def open_page(html):
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8")
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
        env = os.environ | {
            "TZ": "Asia/Tokyo"
        }  # charts count from the run's start, wherever they are looked at
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=env)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout, console

    return open_page


def root_attributes(dom):
    return Elements(re.search(r"<html[^>]*>", dom).group()).found[0][1]


def test_all_charts_are_drawn_without_a_word_on_the_console(opened):
    dom, console = opened(render(five_phase_record(), five_phase_summary()))
    assert root_attributes(dom)["data-charts"] == "10"
    assert root_attributes(dom)["data-chart-failures"] == "0"
    assert console == []
    assert dom.count('class="main-svg"') >= 10
    for shown in ("Normal load", "Recovery", "planned", "worker-1", "CPU, db-1"):
        assert re.search(rf"<text[^>]*>(<tspan[^>]*>)?{shown}<", dom), shown


def test_a_cluster_that_changed_has_a_label_for_every_event_in_every_chart_over_time(opened):
    record = cluster_record()
    dom, console = opened(render(record, summarise(record)))
    assert root_attributes(dom)["data-charts"] == "8"
    assert root_attributes(dom)["data-chart-failures"] == "0"
    assert console == []
    for shown in ("worker-2 lost", "worker-3 lost", "worker-4 joined", "worker-3 returned"):
        assert len(re.findall(rf"<text[^>]*>(?:<tspan[^>]*>)?{shown}<", dom)) == 7, shown


EVENTS = """<script>
const chart = document.querySelector('[data-figure="arrivals"]');
const start = chart.calcdata[0][0].x;
const lines = chart.calcdata.filter((points) => points[0].trace.name.startsWith("load generator "));
const times = lines.flatMap((points) => points.map((point) => point.x - start)).filter(Number.isFinite);
document.documentElement.dataset.events = JSON.stringify(times);
</script></body>"""


def test_thirty_events_are_lines_at_their_times(opened):
    record = busy_record(30)
    html = render(record, summarise(record)).replace("Content-Security-Policy", "X-None", 1)
    dom, console = opened(EVENTS.join(html.rsplit("</body>", 1)))
    assert console == []
    # The ends of each line; half a millisecond keeps plotly from taking 1000 for a year.
    drawn = sorted(json.loads(root_attributes(dom)["data-events"]))
    assert drawn == [1000.5 + 2000 * (number // 2) for number in range(60)]


def test_an_empty_run_opens(opened):
    dom, console = opened(render(empty_record(), empty_summary()))
    assert root_attributes(dom)["data-charts"] == "1"
    assert console == []


def test_hostile_text_runs_nothing_and_makes_no_element(opened):
    dom, console = opened(render(hostile_record(), hostile_summary()))
    assert root_attributes(dom)["data-charts"] == "10"
    assert root_attributes(dom)["data-chart-failures"] == "0"
    assert "data-hacked" not in root_attributes(dom)
    assert console == []
    elements = Elements(dom).found
    assert sum(tag == "script" for tag, _ in elements) == 3
    assert not any(tag == "img" for tag, _ in elements)
    for _, attributes in elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert re.search(r"<text[^>]*>[^<]*&lt;b&gt;bold&lt;/b&gt;", dom), (
        "a label of plotly shows its tags as text"
    )


def test_the_policy_stops_a_script_that_got_into_the_page(opened):
    html = render(empty_record(), empty_summary())
    dom, console = opened(html.replace("<main>", f"<main>{MARK}", 1))
    assert "data-hacked" not in root_attributes(dom)
    assert any("Content Security Policy" in line for line in console)


def test_the_mark_would_be_seen_without_the_policy(opened):
    html = render(empty_record(), empty_summary())
    dom, _ = opened(
        html.replace("Content-Security-Policy", "X-None", 1).replace("<main>", f"<main>{MARK}", 1)
    )
    assert root_attributes(dom)["data-hacked"] == "1"


ZOOM = """<script>
const chart = (name) => document.querySelector(`[data-figure="${name}"]`);
const state = (key, value) => { document.documentElement.dataset[key] = JSON.stringify(value); };
document.querySelector('[data-log="latency"]').click();
Plotly.relayout(chart("latency"), {"xaxis.range[0]": 20000, "xaxis.range[1]": 40000}).then(() => {
  setTimeout(() => {
    state("zoomed", chart("host").layout.xaxis.range.map(Number));
    state("spectrum", chart("spectrum").layout.xaxis.type);
    state("scale", chart("latency").layout.yaxis.type);
    Plotly.relayout(chart("host"), {"xaxis.autorange": true}).then(() => {
      setTimeout(() => state("reset", chart("latency").layout.xaxis.range.map(Number)), 200);
    });
  }, 200);
});
</script></body>"""


def test_zooming_one_chart_over_time_zooms_all_and_latency_turns_logarithmic(opened):
    html = render(five_phase_record(), five_phase_summary())
    html = html.replace("Content-Security-Policy", "X-None", 1)  # to let the script below run
    dom, console = opened(ZOOM.join(html.rsplit("</body>", 1)))
    root = root_attributes(dom)
    assert console == []
    assert root["data-zoomed"] == "[20000,40000]"
    assert root["data-spectrum"] == '"log"'
    assert root["data-scale"] == '"log"'
    assert root["data-reset"] == "[0,65000]"
