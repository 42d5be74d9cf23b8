import json
from pathlib import Path

import pytest

from perfload.cli import monitors
from perfload.cli.main import main
from perfload.monitors import BUILT_IN
from perfload.monitors.probe import Probe


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Probe]:
    """Return what the monitors are to say; those that were tried are left in it."""
    answers: dict[str, Probe] = {}

    def probe(names: list[str], **options: object) -> dict[str, Probe]:
        for gone in answers.keys() - set(names):
            del answers[gone]
        return {name: answers.setdefault(name, Probe(7, {})) for name in names}

    for name in ("MONGODB_URL", "REDIS_URL", "PERFLOAD_AGENT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFLOAD_MONITOR_GPU", "off")
    monkeypatch.setattr(monitors, "probe", probe)
    return answers


def rows(text: str) -> dict[str, str]:
    return {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line[0] != " "}


def test_every_monitor_has_a_line_and_only_what_may_be_is_tried(
    tried: dict[str, Probe], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["monitors"]) == 0
    shown = rows(capsys.readouterr().out)
    assert shown.keys() >= BUILT_IN.keys()
    assert shown["host"] == "on ok: 7 values"
    assert shown["gpu"] == 'off monitors.gpu is "off"'
    assert shown["processes"] == "off monitors.processes chooses none"
    assert shown["mongodb"] == "off MONGODB_URL is not set"
    assert shown["redis"] == "off REDIS_URL is not set"
    assert not tried.keys() & {"gpu", "processes", "mongodb", "mongodb_profiler", "redis"}


def test_why_something_is_unavailable_comes_with_the_next_step(
    tried: dict[str, Probe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "perfload.toml").write_text(
        '[monitors]\nredis = false\n[mongodb]\nprofile = "slow"\n[[agents]]\nname = "db-1"\nurl = "http://db-1"\n'
    )
    (tmp_path / ".env.performance").write_text(
        "MONGODB_URL=mongodb://app:hunter2@db\nREDIS_URL=redis://cache\n"
    )
    tried["mongodb"] = Probe(0, {}, "pymongo is not installed; pip install 'perfload[mongodb]'")
    tried["host"] = Probe(40, {f"metric_{number}": "password=hunter2" for number in range(5)})
    tried["agent.db-1"] = Probe(0, {}, "mongodb://app:hunter2@db refused")
    assert main(["monitors"]) == 0
    output = capsys.readouterr().out
    shown = rows(output)
    assert shown["mongodb"] == "on unavailable: pymongo is not installed → pip install 'perfload[mongodb]'"
    assert shown["host"] == "on ok: 40 values, 5 unavailable"
    assert "metric_2: password=***\n" in output
    assert "and 2 more\n" in output
    assert shown["agent.db-1"] == "on unavailable: mongodb://***@db refused"
    assert shown["redis"] == "off monitors.redis is false"
    # Opening it would change the database.
    assert shown["mongodb_profiler"].startswith("on not tried: ")
    assert "mongodb_profiler" not in tried
    assert "hunter2" not in output


def test_json_for_programs(tried: dict[str, Probe], capsys: pytest.CaptureFixture[str]) -> None:
    tried["host"] = Probe(40, {"swap_percent": "this host has no swap"})
    assert main(["monitors", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["host"] == {
        "name": "host",
        "on": True,
        "note": "",
        "checked": True,
        "ok": True,
        "values": 40,
        "reason": "",
        "unavailable": {"swap_percent": "this host has no swap"},
    }
    assert (found["redis"]["on"], found["redis"]["checked"], found["redis"]["ok"]) == (False, False, False)


def test_a_bad_configuration_is_exit_code_2(
    tried: dict[str, Probe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "perfload.toml").write_text('[monitors]\nprocesses = ["uvicorn"]\n')
    assert main(["monitors"]) == 2
    assert "chooses none" in capsys.readouterr().err
