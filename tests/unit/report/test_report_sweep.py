import json
import re
from html.parser import HTMLParser

import pytest

from perfload.analysis.sweep_schema import SweepSummary
from perfload.report import sweep_charts
from perfload.report.sweep import render
from perfload.report.sweep_terminal import level_line, render_sweep
from perfload.report.sweep_words import conclusion, level_name, levels_in_words, notes
from tests.unit.report.records import HOSTILE
from tests.unit.report.sweeps import hostile_sweep, level, sweep


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text by the tag that is around it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.append((self._open[-1], data))


def page(summary: SweepSummary) -> Page:
    return Page(render(summary))


def text_of(found: Page) -> str:
    return " ".join(text for tag, text in found.texts if tag != "style")


# --- the answer in words


@pytest.mark.parametrize(
    ("summary", "kind", "words"),
    [
        (
            sweep(),
            "good",
            "4/s is the highest level that meets the objectives. 8/s does not meet them: "
            "p99(ttft) < 2s: 4.10 s.",
        ),
        (
            sweep(level(1.0), level(2.0)),
            "good",
            "2/s is the highest level that meets the objectives. No higher one was tried: the limit lies "
            "above it.",
        ),
        (
            sweep(level(1.0), planned=[1.0, 2.0], end="interrupted"),
            "good",
            "1/s is the highest level that meets the objectives. No higher one was run.",
        ),
        (
            sweep(level(1.0), level(2.0, "invalid", reasons=("the generator was late",))),
            "good",
            "1/s is the highest level that meets the objectives. 2/s is invalid: the generator was late.",
        ),
        (
            sweep(level(0.5, "missed", p50_ms=1025), level(2.0)),
            "bad",
            "No level meets the objectives. 0.5/s does not meet them: p99(ttft) < 2s: 4.10 s.",
        ),
        (
            sweep(level(1.0, "incomplete", reasons=("a worker was lost",))),
            "doubt",
            "The lowest level could not be judged. 1/s is incomplete: a worker was lost.",
        ),
        (
            sweep(level(1.0, "unjudged"), level(2.0, "unjudged")),
            "doubt",
            "No objective was stated, so there is none that a level could meet.",
        ),
        (sweep(levels=[], best=None), "doubt", "No level was run."),
    ],
)
def test_the_answer(summary: SweepSummary, kind: str, words: str) -> None:
    assert conclusion(summary) == (kind, words)
    found = page(summary)
    assert ("p", words) in found.texts
    assert ("div", {"class": f"verdict {kind}", "role": "status"}) in found.tags
    assert " ".join(render_sweep(summary, width=300).split()).find(words) >= 0


def test_a_level_without_data_and_one_that_was_aborted_say_so() -> None:
    silent = level(1.0, "missed")
    silent["objectives"][0] |= {"status": "no_data", "observed": None, "detail": "nothing was measured"}
    assert conclusion(sweep(silent))[1].endswith("p99(ttft) < 2s: no data (nothing was measured).")
    aborted = level(1.0, "missed", reasons=("aborted: the spending cap is reached",))
    aborted["objectives"] = []
    assert conclusion(sweep(aborted))[1].endswith(
        "1/s does not meet them: aborted: the spending cap is reached."
    )


def test_higher_levels_that_meet_them_are_named_and_do_not_count() -> None:
    summary = sweep(level(1.0), level(2.0, "missed"), level(4.0), level(8.0))
    assert summary["best"] == 1.0
    assert "4/s, 8/s meet them too, but not every level below does: that does not count." in notes(summary)


def test_the_notes_say_what_was_left_out_why_it_ended_and_how_long_it_measured() -> None:
    found = list(notes(sweep(end_note="Stopped after 8/s.", time_scale=10.0)))
    assert "Left out: peak_users >= 100 (the level sets the load)." in found
    assert "Stopped after 8/s." in found
    assert "Each level was measured for 6 s, after a warm-up of 1 s that is in no figure." in found
    assert "Each level was measured for 60 s, without a warm-up." in list(notes(sweep(warmup_s=0.0)))


def test_levels_have_their_unit() -> None:
    assert [level_name(value, "arrivals") for value in (4.0, 0.5, 1_000_000.0)] == [
        "4/s",
        "0.5/s",
        "1000000/s",
    ]
    assert [level_name(value, "users") for value in (1.0, 50.0)] == ["1 user", "50 users"]
    assert levels_in_words([1.0, 2.5], "arrivals") == "1, 2.5 virtual users per second"
    assert levels_in_words([10.0], "users") == "10 users at once"
    assert levels_in_words([1.0], "users") == "1 user at once"
    assert levels_in_words([1.0], "arrivals") == "1 virtual user per second"


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ((40, 60), "2/s had 40 requests: of fewer than 1,000 a p99"),
        ((1, 2000), "2/s had 1 request: "),
        ((2000, 999), "4/s had 999 requests: "),
        ((0, 1000), None),
    ],
)
def test_a_level_with_too_few_requests_for_a_p99_is_named(
    requests: tuple[int, int], words: str | None
) -> None:
    levels = [level(2.0), level(4.0)]
    for each, number in zip(levels, requests, strict=True):
        each["figures"]["requests"] = number
    found = [note for note in notes(sweep(*levels)) if "p99" in note]
    assert [note[: len(words or "")] for note in found] == ([words] if words else [])


# --- the terminal


def test_the_table_in_a_wide_terminal_has_every_figure() -> None:
    lines = render_sweep(sweep(), width=160).splitlines()
    assert lines[0].split("  ")[0].strip() == "level"
    head = lines[0]
    for title in (
        "started/s",
        "users",
        "requests/s",
        "errors",
        "p95",
        "TTFT p50",
        "TPOT p99",
        "goodput",
        "good/s",
    ):
        assert title in head
    row = next(line for line in lines if line.lstrip().startswith("8/s"))
    assert "✗ MISSED" in row
    assert "3 (5 %)" in row
    assert "4.10 s" in row
    assert "50 %" in row


@pytest.mark.parametrize("has_tokens", [True, False])
def test_a_wider_terminal_never_shows_less(has_tokens: bool) -> None:
    summary = sweep(level(10.0, has_tokens=has_tokens), level(200.0, "incomplete", has_tokens=has_tokens))
    shown: set[str] = set()
    for width in range(60, 161):
        lines = render_sweep(summary, width=width).splitlines()
        titles = set(re.split(r" {2,}", lines[0].strip()))
        assert shown <= titles, width
        shown = titles
    assert "started/s" in shown


def test_a_narrow_terminal_keeps_the_times_of_tokens() -> None:
    lines = render_sweep(sweep(), width=90).splitlines()
    assert all(len(line) <= 90 for line in lines)
    assert "TTFT p99" in lines[0]
    assert "started/s" not in lines[0]


def test_without_language_models_there_are_no_columns_for_them() -> None:
    summary = sweep(level(10.0, has_tokens=False), model="users")
    head = render_sweep(summary, width=160).splitlines()[0]
    assert "p50" in head
    assert not any(title in head for title in ("TTFT", "TPOT", "tokens", "goodput", "started"))


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_from_outside_commands_the_terminal(text: str) -> None:
    shown = render_sweep(hostile_sweep(text), width=120)
    assert not [character for character in shown if not character.isprintable() and character != "\n"]


def test_the_line_of_a_level() -> None:
    assert level_line(level(8.0, "missed", p50_ms=1025)) == (
        "✗ MISSED      8.00 requests/s, p95 4.10 s, 5 % failed, TTFT p99 4.10 s"
    )
    assert level_line(level(8.0, has_tokens=False)).endswith("8.00 requests/s, p95 400 ms, 0 % failed")


# --- the page


def test_each_level_links_to_its_own_report() -> None:
    links = [attrs["href"] for tag, attrs in page(sweep()).tags if tag == "a"]
    assert [link for link in links if link and not link.startswith("#")] == [
        f"./level-{value}/20260101-000000-level-5f3a/report.html" for value in (1, 2, 4, 8)
    ]


def test_the_table_has_the_figures_of_every_level() -> None:
    cells = [text for tag, text in page(sweep()).texts if tag in ("td", "th")]
    for shown in ("8.00", "16.0", "2,050", "4,100", "1,025", "800", "50"):
        assert shown in cells, shown


def test_every_chart_has_its_place_and_its_figure() -> None:
    html = render(sweep())
    data = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert data is not None
    places = [attrs["data-figure"] for tag, attrs in Page(html).tags if "data-figure" in attrs]
    assert places == list(json.loads(data[1])) == list(sweep_charts.CHARTS)


def test_the_curve_has_a_point_for_each_level_at_its_throughput() -> None:
    curve = sweep_charts.build(sweep())["sweep-curve"]
    assert [trace["name"] for trace in curve["data"]] == ["p50", "p95", "p99"]
    p95 = curve["data"][1]
    assert p95["x"] == [1, 2, 4, 8]
    assert p95["y"] == [400, 400, 600, 4100]
    assert p95["text"] == ["1/s", "2/s", "4/s", "8/s"]
    assert p95["marker"]["symbol"] == ["circle", "circle", "circle", "x"]
    assert curve["layout"]["yaxis"]["type"] == "log"


def test_levels_that_are_not_to_be_believed_are_drawn_open() -> None:
    summary = sweep(level(1.0), level(2.0, "invalid"), level(4.0, "incomplete"))
    symbols = sweep_charts.build(summary)["sweep-rate"]["data"][0]["marker"]["symbol"]
    assert symbols == ["circle", "circle-open", "circle-open"]


def test_the_best_level_is_marked_where_it_is() -> None:
    layout = sweep_charts.build(sweep())["sweep-ttft"]["layout"]
    assert layout["shapes"][0]["x0"] == 4
    assert layout["annotations"][0]["x"] == 4
    assert layout["xaxis"]["ticktext"] == ["1", "2", "4", "8"]
    wide = sweep(level(1.0), level(100.0))
    layout = sweep_charts.build(wide)["sweep-ttft"]["layout"]
    assert (layout["xaxis"]["type"], layout["shapes"][0]["x0"], layout["annotations"][0]["x"]) == (
        "log",
        100,
        2,
    )
    none = sweep(level(1.0, "missed"))
    assert sweep_charts.build(none)["sweep-ttft"]["layout"]["shapes"] == []


def test_without_language_models_the_page_does_not_speak_of_them() -> None:
    summary = sweep(level(10.0, has_tokens=False), model="users")
    assert list(sweep_charts.build(summary)) == ["sweep-curve", "sweep-rate"]
    found = page(summary)
    assert "tokens" not in {attrs.get("id") for tag, attrs in found.tags if tag == "section"}
    assert "10 users" in text_of(found)
    assert "goodput >= 95%" not in text_of(found)


def test_a_sweep_without_a_measured_level_is_a_page_too() -> None:
    empty = level(1.0, "incomplete", has_tokens=False)
    empty["figures"] |= {"requests_per_s": None, "users_mean": None, "started_per_s": None}
    empty["figures"]["response_time_ms"] = {"p50": None, "p95": None, "p99": None}
    assert sweep_charts.build(sweep(empty)) == {}
    assert "Nothing was measured that could be drawn." in text_of(page(sweep(empty)))
    assert "No level was run." in text_of(page(sweep(levels=[], best=None)))


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_outside_makes_no_element_and_no_address(text: str) -> None:
    hostile, plain = page(hostile_sweep(text)), page(hostile_sweep("plain"))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    for tag, attrs in hostile.tags:
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
        href = attrs.get("href")
        assert href is None or href.startswith(("#", "./level-")), href


def test_the_policy_lets_nothing_in() -> None:
    policy = next(attrs["content"] for tag, attrs in page(sweep()).tags if attrs.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy
    assert "http" not in policy
