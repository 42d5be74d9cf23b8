"""When the monitors of Redis, of graphics cards and of Prometheus are switched on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from perfload.config import load_config
from perfload.errors import UsageError
from perfload.monitors import gpu
from perfload.monitors.selection import sampled, selected


def chosen(folder: Path, environ: Mapping[str, str]) -> set[str]:
    config = load_config(directory=folder, environ=environ, flags={})
    return set(selected(config.monitoring, config.settings)) & {"gpu", "redis", "prometheus"}


@pytest.mark.parametrize(
    ("setting", "is_there", "is_on"),
    [("auto", True, True), ("auto", False, False), ("on", False, True), ("off", True, False)],
)
def test_cards_are_watched_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, is_there: bool, is_on: bool
) -> None:
    monkeypatch.setattr(gpu, "is_present", lambda: is_there)
    assert chosen(tmp_path, {"PERFLOAD_MONITOR_GPU": setting}) == ({"gpu"} if is_on else set())


QUERIES = '{"up": "up"}'


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, set()),
        ({"REDIS_URL": "redis://db"}, {"redis"}),
        ({"REDIS_URL": "redis://db", "PERFLOAD_MONITOR_REDIS": "false"}, set()),
        ({"PERFLOAD_PROMETHEUS_URL": "http://p:9090"}, set()),
        ({"PERFLOAD_PROMETHEUS_QUERIES": QUERIES}, set()),
        (
            {"PERFLOAD_PROMETHEUS_URL": "http://p:9090", "PERFLOAD_PROMETHEUS_QUERIES": QUERIES},
            {"prometheus"},
        ),
    ],
)
def test_a_source_is_watched_where_it_has_an_address(
    tmp_path: Path, environ: dict[str, Any], expected: set[str]
) -> None:
    assert chosen(tmp_path, {"PERFLOAD_MONITOR_GPU": "off", **environ}) == expected


def test_a_monitor_may_have_an_interval_of_its_own(tmp_path: Path) -> None:
    environ = {"PERFLOAD_MONITOR_INTERVALS": '{"redis": "5s", "gpu": "2s"}', "REDIS_URL": "redis://db"}
    config = load_config(directory=tmp_path, environ=environ | {"PERFLOAD_MONITOR_GPU": "off"}, flags={})
    assert sampled(config.monitoring, config.settings) == ("host", "redis@5s")


def test_the_interval_of_a_monitor_that_there_is_not_is_a_usage_error(tmp_path: Path) -> None:
    config = load_config(
        directory=tmp_path, environ={"PERFLOAD_MONITOR_INTERVALS": '{"reds": "5s"}'}, flags={}
    )
    with pytest.raises(UsageError, match="there is no monitor 'reds'"):
        sampled(config.monitoring, config.settings)
