"""The page of a sweep in a real browser: its charts are drawn, and hostile text runs no script."""

import re

import pytest

from perfload.report.sweep import render
from tests.integration.test_report_browser import CHROMIUM, opened, root_attributes
from tests.unit.report.records import HOSTILE
from tests.unit.report.sweeps import hostile_sweep, level, sweep

__all__ = ["opened"]  # a fixture

pytestmark = [
    pytest.mark.integration,
    pytest.mark.ai,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: the page is not opened in a browser"),
]


def test_all_charts_are_drawn_without_a_word_on_the_console(opened):
    dom, console = opened(render(sweep()))
    assert root_attributes(dom)["data-charts"] == "6"
    assert root_attributes(dom)["data-chart-failures"] == "0"
    assert console == []
    for shown in ("1/s", "8/s", "virtual users per second", "highest that meets the objectives"):
        assert re.search(rf"<text[^>]*>(?:<tspan[^>]*>)?{shown}<", dom), shown


def test_a_sweep_over_users_far_apart_is_drawn_on_logarithmic_axes(opened):
    levels = [level(value, p50_ms=value, has_tokens=False) for value in (1.0, 30.0, 1000.0)]
    dom, console = opened(render(sweep(*levels, model="users")))
    assert root_attributes(dom)["data-charts"] == "2"
    assert root_attributes(dom)["data-chart-failures"] == "0"
    assert console == []
    assert re.search(r"<text[^>]*>1000 users<", dom)


@pytest.mark.parametrize("text", HOSTILE[:4])
def test_hostile_text_runs_no_script(opened, text):
    dom, console = opened(render(hostile_sweep(text)))
    assert "data-hacked" not in root_attributes(dom)
    assert root_attributes(dom)["data-chart-failures"] == "0"
    assert console == []
