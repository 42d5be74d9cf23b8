"""The profiler's monitor without a server: when it is on, what it is made from, what it says first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perfload.config import load_config
from perfload.errors import UsageError
from perfload.monitors import MonitorUnavailable, find_monitor
from perfload.monitors.mongodb.profiler import ProfilerMonitor
from perfload.monitors.selection import selected

URL = {"MONGODB_URL": "mongodb://127.0.0.1:1/app"}


@pytest.mark.parametrize(
    ("profile", "settings", "mongodb", "is_on"),
    [
        ("slow", URL, True, True),
        ("all", URL, True, True),
        ("off", URL, True, False),
        ("slow", {}, True, False),
        ("slow", URL, False, False),
    ],
)
def test_it_is_on_only_when_asked_for_and_with_an_address(profile, settings, mongodb, is_on):
    monitoring = load_config(directory=Path("/nowhere"), environ={}, flags={}).monitoring
    monitoring = replace(monitoring, gpu="off", mongodb=mongodb, mongodb_profile=profile)
    assert ("mongodb_profiler" in selected(monitoring, settings)) is is_on


def test_it_is_made_from_the_environment_of_a_run():
    monitoring = load_config(
        directory=Path("/nowhere"),
        environ={"PERFLOAD_MONGODB_PROFILE": "slow", "PERFLOAD_MONGODB_SLOW": "20ms"},
        flags={},
    ).monitoring
    made = find_monitor("mongodb_profiler")(monitoring.environment(URL))
    assert isinstance(made, ProfilerMonitor)
    assert (made._mode, made._slow_ms) == ("slow", 20)


@pytest.mark.parametrize("profile", ["off", "everything"])
def test_a_mode_that_is_none_is_refused(profile):
    with pytest.raises(UsageError, match="PERFLOAD_MONGODB_PROFILE"):
        ProfilerMonitor.from_environment(URL | {"PERFLOAD_MONGODB_PROFILE": profile})


def test_without_an_address_or_a_server_it_says_what_to_do(tmp_path):
    without = ProfilerMonitor.from_environment({"XDG_STATE_HOME": str(tmp_path)})
    with pytest.raises(MonitorUnavailable, match="there is no MongoDB to watch"):
        without.open()
    nobody_there = ProfilerMonitor.from_environment(URL | {"XDG_STATE_HOME": str(tmp_path)})
    with pytest.raises(MonitorUnavailable, match="cannot be reached"):
        nobody_there.open()
    nobody_there.close()
    assert list(tmp_path.iterdir()) == []
