import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs

from perfload.analysis.summary import summarise
from perfload.histogram import Histogram
from perfload.model import PhaseSpan, Reading, RunRecord, Window
from perfload.report.html import render
from perfload.report.quantities import NOTHING
from tests.unit.report.clusters import busy_record, cluster_record
from tests.unit.report.records import (
    HOSTILE,
    RUN_ID,
    STARTED_AT_S,
    empty_record,
    empty_summary,
    five_phase_record,
    five_phase_summary,
    hostile_record,
    hostile_summary,
    manifest,
)

PLOTLY = get_plotlyjs()


class Page(HTMLParser):
    """The elements of a page, the text of each section and what its scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.section, self.texts = [], [], "", {}
        self.in_raw = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.in_raw = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((attributes, ""))
        if tag in ("section", "header"):
            self.section = attributes.get("id", tag)
        if tag in ("td", "th", "p", "li", "dd", "dt", "div", "strong", "small", "h3", "span"):
            self.texts[self.section] = self.texts.get(self.section, "") + "|"

    def handle_endtag(self, tag):
        self.in_raw = ""

    def handle_data(self, data):
        if self.in_raw == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif not self.in_raw:
            self.texts[self.section] = self.texts.get(self.section, "") + data

    def cells(self, section):
        return re.sub(r"\|+", "|", self.texts[section])

    @property
    def figures(self):
        return next(
            json.loads(text) for attributes, text in self.scripts if attributes.get("id") == "figures"
        )


@pytest.fixture(scope="module")
def html():
    return render(five_phase_record(), five_phase_summary())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.fixture(scope="module")
def hostile():
    return render(hostile_record(), hostile_summary())


def test_sections_come_in_the_order_of_their_weight(page):
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert ids == [
        "thresholds",
        "cause",
        "load",
        "throughput",
        "latency",
        "requests",
        "stages",
        "generator",
        "host",
        "monitors",
        "database",
        "method",
    ]


def test_the_header_names_the_run_and_its_verdict_in_words(page):
    header = page.cells("header")
    for shown in (
        f"run {RUN_ID}",
        "https://models.example.com",
        "✗ FAILED",
        "p95 < 500ms: observed 812.4 ms",
        "AiModelsUser, ChatUser",
        "2026-01-01 00:00:00 UTC",
        "65 s",
        "open: users arrive at a rate",
        "2 of 2 complete",
        "Warm-up, left out of totals: Warm-up.",
    ):
        assert shown in header


def test_thresholds_say_their_status_in_words(page):
    shown = page.cells("thresholds")
    assert "|✗ FAIL|p95 < 500ms|812 ms|500 ms|" in shown
    assert "|✓ pass|error_rate < 1%|0.17 %|1 %|" in shown
    assert f"|? NO DATA|p99(GET /nowhere) < 3s|{NOTHING}|3.00 s|no request GET /nowhere finished" in shown


def test_tiles_show_the_key_figures(page):
    shown = page.cells("thresholds")
    for tile in (
        "Requests|21,634|361 per second",
        "Error rate|0.17 %|37 failed",
        "Availability|100 %|",
        "Response time p95|812 ms|p50 271\u00a0ms, p99 1.35\u00a0s",
        "Peak users|311|",
        "Arrivals started|3,585|of 3,675 planned, 412 late",
    ):
        assert tile in shown


def test_tables_hold_the_summary(page):
    assert "|Spike|open|00:40|00:10|1,500|1,410|412|88|2|0.35|1.12|14.6|311" in page.cells("load")
    assert "|POST /api/auth/login|503 Service Unavailable|30|81.08 %" in page.cells("throughput")
    requests = page.cells("requests")
    login = "|POST /api/auth/login|"
    assert f"{login}total|2,400|30|1.25|40.0|62.0|186|310|620|55.8|167|279|558" in requests
    assert f"{login}Spike|1,500|30|2|25.0|" in requests
    assert "|time_to_first_token|7,210|96.8 ms|88.0 ms|176 ms|264 ms|440 ms|880 ms" in requests
    assert "|worker-2 (#1)|✓ complete|01:04|54.2 %|8.10 ms" in page.cells("generator")
    assert "|host|db-1|memory_used_bytes|65|12.2 GiB|" in page.cells("host")


@pytest.fixture(scope="module")
def cluster():
    record = cluster_record()
    return Page(render(record, summarise(record)))


def test_the_table_of_generators_tells_what_became_of_their_arrivals(cluster):
    shown = cluster.cells("generator")
    assert (
        "|Generator|Data|Joined|Left|Last window|Given|Started|Dropped|Lost|Clock offset |ms|CPU|Loop lag|"
    ) in shown
    for row in (
        f"|worker-0 (#0)|✓ complete|00:00|{NOTHING}|00:59|3,647|3,647|0|0|0.02 ± 0.11|",
        "|worker-2 (#2)|✗ INCOMPLETE it was last heard of at 20.1 s and did not return: everything after "
        "second 19 is missing|00:00|00:20|00:19|1,115|1,000|0|115|0.01 ± 0.14|",
        f"|worker-3 (#3)|✓ complete|00:00|{NOTHING}|00:59|2,682|2,532|0|150|1.20 ± 0.21|",
        f"|worker-4 (#4)|✓ complete|00:40|{NOTHING}|00:59|908|908|0|0|-48,211,904 ± 0.41|",
    ):
        assert row in shown


def test_the_table_of_generators_is_lean_without_a_cluster(page):
    assert "|Generator|Data|Last window|CPU|Loop lag|worker-1 (#0)|" in page.cells("generator")
    assert "What happened to the cluster" not in page.cells("generator")


def test_what_happened_to_the_cluster_is_told_in_order(cluster):
    assert (
        "What happened to the cluster|"
        "00:22 worker-2 was lost: not heard of for 2 s; the others have its share from 22.3 s on|"
        "00:32 worker-3 was lost: not heard of for 2 s; the others have its share from 32.5 s on|"
        "00:40 worker-4 joined: has a share from 42.0 s on|"
        "00:40 worker-3 returned: has a share from 42.3 s on|"
    ) in cluster.cells("generator")


def test_many_events_are_told_up_to_fifty():
    record = busy_record(60)
    shown = Page(render(record, summarise(record))).cells("generator")
    assert shown.count("worker-3 was lost|") == shown.count("worker-3 returned|") == 25
    assert "|10 more in summary.json." in shown


def test_lost_arrivals_are_in_the_phases_and_the_tiles(cluster, page):
    assert "|Planned|Started|Late|Dropped|Lost|Missed|" in cluster.cells("load")
    assert "|Normal load|open|00:10|00:30|6,000|5,735|0|0|265|0|" in cluster.cells("load")
    assert "|Warm-up|open|00:00|00:10|2,000|2,000|0|0|0|0|" in cluster.cells("load")
    assert "Arrivals started|9,735|of 10,000 planned, 0 late, 265 lost" in cluster.cells("thresholds")
    assert "|Planned|Started|Late|Dropped|Missed|" in page.cells("load")


def test_what_a_monitor_could_not_read_is_said_in_words(page):
    assert (
        "Not available: gpu on db-1 (utilization_percent), 65 times: no NVIDIA driver on this machine"
        in page.cells("monitors")
    )
    assert "|gpu|" not in page.cells("monitors")


def test_every_chart_has_its_place(page):
    places = [attributes["data-figure"] for _, attributes in page.tags if "data-figure" in attributes]
    assert sorted(places) == sorted(page.figures)
    assert len(places) == 10


def test_the_page_is_one_file_that_loads_nothing(html, page):
    assert html.count(PLOTLY) == 1
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"link", "iframe", "img", "object", "embed", "base", "form", "video", "audio"}
    for _, attributes in page.tags:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    own = html.replace(PLOTLY, "")
    assert "url(" not in own
    assert "@import" not in own


def policy_of(page):
    return next(
        attributes["content"]
        for _, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )


def test_the_policy_allows_exactly_the_scripts_of_the_page(page):
    policy = policy_of(page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    scripts = [text for attributes, text in page.scripts if "type" not in attributes]
    assert len(scripts) == 2
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert "unsafe-eval" not in policy


def test_hostile_text_adds_no_element_attribute_or_script(hostile):
    page = Page(hostile)
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert not {tag for tag, _ in page.tags} & {"img", "svg", "b", "i", "iframe"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#").startswith("#")
    own = hostile.replace(PLOTLY, "")
    for attack in HOSTILE[:2]:
        assert attack not in own
    hostile.encode("utf-8")


@pytest.mark.parametrize("section", ["throughput", "generator"])
def test_hostile_text_is_shown_as_it_is(hostile, section):
    shown = Page(hostile).cells(section)
    for attack in (*HOSTILE[:5], HOSTILE[6]):
        assert attack in shown
    assert r"\x1b[31mred\x1b]0;title\x07\r\nnext\tline \u202egnp.exe\u2028 \ud800" in shown


def test_a_run_killed_at_once_says_what_is_missing_and_shows_no_zero_for_it():
    page = Page(render(empty_record(), empty_summary()))
    assert "… INCOMPLETE" in page.cells("header")
    assert "The run was never closed: its process was killed." in page.cells("header")
    assert f"Error rate|{NOTHING}|" in page.cells("thresholds")
    assert "No request succeeded, so there is no response time." in page.cells("latency")
    assert "No monitor read the host in this run." in page.cells("host")
    assert "Not recorded: only perfload's own HTTP client" in page.cells("stages")
    assert list(page.figures) == ["arrivals"]


def test_a_run_without_phases_or_anything_else_renders():
    run = manifest(phases=(), nodes=(), ended_at_s=None, end_reason="running", options={}, environment={})
    page = Page(render(RunRecord(run), empty_summary()))
    assert page.figures == {}
    assert "No arrivals were planned or started." in page.cells("load")


def test_a_host_that_could_not_be_read_says_why():
    readings = (Reading(STARTED_AT_S, "db", "host", "cpu_percent", "%", None, "psutil is not installed"),)
    page = Page(render(RunRecord(manifest(), readings=readings), five_phase_summary()))
    assert "Not available: host on db (cpu_percent), once: psutil is not installed" in page.cells("host")
    assert "host" not in page.figures


def test_one_second_is_a_run():
    one = Histogram([1500])
    run = manifest(phases=(PhaseSpan("only", 0.0, 1.0, "arrivals", 1, 1, 1),), ended_at_s=STARTED_AT_S + 1)
    record = RunRecord(run, (Window(RUN_ID, "n", 0, "only", "GET", "/", one, one, Histogram()),))
    figures = Page(render(record, five_phase_summary())).figures
    assert figures["latency"]["layout"]["xaxis"]["range"] == [0, 1000]
    assert figures["latency"]["data"][0]["y"] == [1.5]


def test_a_closed_phase_has_planned_users_instead_of_arrivals():
    run = manifest(phases=(PhaseSpan("only", 0.0, 2.0, "users", 10, 10, 0),), ended_at_s=STARTED_AT_S + 2)
    figures = Page(render(RunRecord(run), five_phase_summary())).figures
    assert "arrivals" not in figures
    assert figures["users"]["data"][1]["y"] == [10, 10]


def test_damage_to_the_record_is_named():
    record = RunRecord(manifest(), damage=("windows.jsonl line 7: cut off",))
    assert "windows.jsonl line 7: cut off" in Page(render(record, five_phase_summary())).cells("generator")


def test_an_hour_of_eight_requests_renders_in_seconds_and_stays_small():
    record = five_phase_record(scale=60, rate=0.2)
    assert len(record.windows) == 3900 * 8 * 2
    started_s = time.perf_counter()
    html = render(record, five_phase_summary())
    assert time.perf_counter() - started_s < 10
    assert len(html) - len(PLOTLY) < 1_500_000
