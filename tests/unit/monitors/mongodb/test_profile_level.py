"""The profiler's settings, and the note that they are put back from."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from perfload.errors import PerfloadError
from perfload.monitors.mongodb import profile_note
from perfload.monitors.mongodb.profile_level import (
    ProfilerSettings,
    is_ours,
    looks_like_perfload,
    profiling_command,
    restoring_command,
    settings_in,
)
from perfload.monitors.mongodb.profile_note import Owner, ProfilerNote

OFF = ProfilerSettings(level=0, slow_ms=100, sample_rate=1.0, filter=None)
FILTER = {"appName": {"$ne": "perfload"}, "millis": {"$gte": 50}}


def test_slow_operations_are_chosen_by_a_filter_where_there_are_filters():
    assert profiling_command("slow", 50.0, server_version=(6, 0, 5, 0)) == {"profile": 1, "filter": FILTER}
    assert profiling_command("slow", 50.0, server_version=(4, 4, 1, 0)) == {
        "profile": 1,
        "slowms": 50,
        "sampleRate": 1.0,
    }


@pytest.mark.parametrize(("mode", "slow_ms"), [("all", 100.0), ("slow", 0.0)])
def test_all_operations_need_level_two(mode, slow_ms):
    assert profiling_command(mode, slow_ms, server_version=(6, 0, 5, 0)) == {"profile": 2}


def test_what_was_changed_is_put_back_and_nothing_else():
    theirs = {"ns": "app.orders"}
    found = ProfilerSettings(level=1, slow_ms=250, sample_rate=0.5, filter=theirs)
    assert restoring_command(OFF, {"profile": 2}) == {"profile": 0}
    assert restoring_command(OFF, {"profile": 1, "filter": FILTER}) == {"profile": 0, "filter": "unset"}
    assert restoring_command(found, {"profile": 1, "filter": FILTER}) == {"profile": 1, "filter": theirs}
    assert restoring_command(found, {"profile": 1, "slowms": 50, "sampleRate": 1.0}) == {
        "profile": 1,
        "slowms": 250,
        "sampleRate": 0.5,
    }


def test_settings_changed_by_somebody_else_are_not_ours():
    ours = settings_in({"was": 1, "slowms": 100, "sampleRate": 1.0, "filter": FILTER, "note": "…", "ok": 1.0})
    changed = {"profile": 1, "filter": FILTER}
    assert is_ours(ours, ours, changed)
    assert is_ours(replace(ours, slow_ms=7), ours, changed)
    assert not is_ours(replace(ours, filter=None), ours, changed)
    assert not is_ours(OFF, ours, changed)


def test_the_filter_of_another_perfload_is_known():
    negated = {"$and": [{"appName": {"$not": {"$eq": "perfload"}}}, {"millis": {"$gte": 50}}]}
    assert looks_like_perfload(ProfilerSettings(1, 100, 1.0, negated))
    assert not looks_like_perfload(ProfilerSettings(1, 100, 1.0, {"appName": "shop"}))
    assert not looks_like_perfload(ProfilerSettings(2, 100, 1.0, None))


def note(**changes):
    owner = profile_note.this_process()
    made = ProfilerNote("db:27017", "app/../x", OFF, {"profile": 1, "filter": FILTER}, True, owner)
    return replace(made, **changes)


def test_a_note_is_read_back_as_written(tmp_path):
    folder = profile_note.state_folder({"XDG_STATE_HOME": str(tmp_path)})
    assert profile_note.claim(folder, note())
    assert profile_note.read(folder, "db:27017", "app/../x") == note()
    confirmed = profile_note.confirm(folder, note(), replace(OFF, level=1, filter=FILTER))
    assert profile_note.read_all(folder) == [confirmed]
    [path] = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    profile_note.remove(folder, note())
    assert list(folder.iterdir()) == []


def test_only_the_first_note_counts(tmp_path):
    assert profile_note.claim(tmp_path, note())
    assert not profile_note.claim(tmp_path, note(owner=Owner("other", 1, 1.0)))
    assert [left.owner for left in profile_note.read_all(tmp_path)] == [profile_note.this_process()]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_note_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PerfloadError, match="left as it is"):
        profile_note.claim(tmp_path / "file", note())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"server": "x"}', '{"ours": null, "server": "x", "found": {}}']
)
def test_a_damaged_note_is_none(tmp_path, text):
    (tmp_path / "damaged.json").write_text(text)
    assert profile_note.read_all(tmp_path) == []


def test_an_owner_is_known_by_its_start_too():
    ours = profile_note.this_process()
    assert profile_note.is_alive(ours)
    assert not profile_note.is_alive(replace(ours, started_at_s=ours.started_at_s - 3_600))
    assert profile_note.is_alive(Owner("another-machine", 1, 1.0))
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(os.uname().nodename, child.pid, psutil.Process(child.pid).create_time())
    assert profile_note.is_alive(owner)
    child.communicate()
    assert not profile_note.is_alive(owner)


def test_a_relative_state_home_is_ignored():
    assert profile_note.state_folder({"XDG_STATE_HOME": "here"}) == profile_note.state_folder({})
