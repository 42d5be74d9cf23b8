"""`perfload sweep` without its runs: what it refuses, and what it asks Locust for.

Its runs are in `tests/integration/test_sweep.py`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from perfload.cli import sweep
from perfload.cli.main import build_parser, main
from perfload.cli.sweep_level import Ended, Interrupts, LevelProcess
from perfload.errors import ExitCode
from tests.unit.cli.test_cli_report import MANIFEST, record

RULES = '[thresholds]\nrules = ["peak_users >= 100", "p95 < 1s", \'p95 < 1s in "Peak"\']\n'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scenario and a shape, in which the test runs."""
    for name in ("locustfiles/ai_api", "shapes/soak"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (tmp_path / "perfload.toml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PERFLOAD_")]:
        monkeypatch.delenv(name)
    return tmp_path


def started(words: str) -> list[str]:
    """Return the options, behind the scenario and the shape, with which a sweep would start Locust."""
    arguments, rest = build_parser().parse_known_args(["sweep", *words.split()])
    config = sweep.load_config(directory=Path.cwd(), environ={}, flags=sweep.config_flags(vars(arguments)))
    return [*sweep._passed_on(arguments, sweep._plan(arguments, config)), *rest]


def test_thresholds_that_a_sweep_can_ask_for_and_locust_s_options_are_passed_on() -> None:
    assert started("ai_api --rates 1,2 --host http://localhost --processes 2 Chat") == [
        "--threshold=p95 < 1s",
        *("--host", "http://localhost", "--processes", "2", "Chat"),
    ]


def test_perfload_s_own_options_are_passed_on_but_for_the_folder() -> None:
    words = "ai_api --users 1 --seed 7 --allow-host a.example --allow-host b.example --reports-dir elsewhere"
    assert started(f"{words} --wait-for-target 5s --time-scale 2 --threshold p50<1s --threshold p99<2s") == [
        *("--allow-host=a.example", "--allow-host=b.example", "--wait-for-target=5s"),
        *("--time-scale=2.0", "--seed=7", "--threshold=p50<1s", "--threshold=p99<2s"),
    ]


def test_a_level_is_never_held_against_the_rules_that_were_left_out() -> None:
    assert started("ai_api --rates 1 --threshold peak_users>=5") == ["--threshold=count >= 1"]


@pytest.mark.parametrize(
    ("words", "percent"),
    [("", 95), ("--goodput 80%", 80), ("--threshold goodput>=99%", None)],
)
def test_goodput_is_asked_for_unless_a_rule_does(words: str, percent: float | None) -> None:
    arguments, _ = build_parser().parse_known_args(["sweep", "ai_api", "--rates", "1", *words.split()])
    config = sweep.load_config(directory=Path.cwd(), environ={}, flags=sweep.config_flags(vars(arguments)))
    assert sweep._plan(arguments, config).goodput_percent == percent


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("ai_apu --rates 1", "there is no 'ai_apu'", "did you mean ai_api?"),
        ("ai_api --rates 1,x", "--rates: 'x' is no level", "--rates 1,2,4,8"),
        ("ai_api --users 1.5", "--users: 1.5 is no whole number of users", "--users 1,2,4,8"),
        ("ai_api --rates 1 -u 5", "a sweep does not take -u", "--rates or --users says the load"),
        ("ai_api --rates 1 -u5", "a sweep does not take -u", "--rates or --users says the load"),
        ("ai_api --rates 1 --run-time=60s", "a sweep does not take --run-time", "--duration says"),
        ("ai_api --rates 1 -f x.py", "a sweep does not take -f", "behind sweep"),
        ("ai_api --rates 1 --master", "a sweep does not take --master", "--processes N"),
        ("ai_api --rates 1 --worker", "a sweep does not take --worker", "perfload run"),
        ("ai_api --rates 1 --expect-workers=2", "a sweep does not take --expect-workers", "--processes N"),
        ("ai_api soak --rates 1", "a sweep makes its own shape, not 'soak'", "leave the shape out"),
        ("ai_api shapes/soak.py --rates 1", "a sweep makes its own shape", "leave the shape out"),
        ("ai_api --rates 1 --duration 0", "--duration is zero", "--duration 60s"),
        ("ai_api --rates 1 --warmup soon", "--warmup: 'soon' is not a duration", "90s"),
        ("ai_api --rates 1 --goodput 0", "--goodput: '0' is no share", "--goodput 95%"),
        ("ai_api --rates 1 --threshold p95<", "the limit is missing", "p95 < 5s"),
    ],
)
def test_what_is_refused_before_anything_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], words: str, message: str, hint: str
) -> None:
    assert main(["sweep", *words.split()]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert hint in err
    assert not (project / "reports").exists()


@pytest.mark.parametrize("words", ["--rates 1 --users 1", ""])
def test_exactly_one_model_is_named(capsys: pytest.CaptureFixture[str], words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "ai_api", *words.split()])
    assert ended.value.code == ExitCode.USAGE
    assert "--rates" in capsys.readouterr().err


def test_a_value_that_is_called_like_a_shape_is_a_value() -> None:
    sweep._check_rest(["--tags", "soak", "Chat", "--host=http://soak"])


def test_reports_that_cannot_be_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "reports").write_text("a file")
    assert main(["sweep", "ai_api", "--rates", "1"]) == ExitCode.USAGE
    assert "cannot be made: " in capsys.readouterr().err


def test_two_sweeps_of_one_second_do_not_share_a_folder(project: Path) -> None:
    first, second = (sweep._make_folder(project / "reports", "sweep-20260101-000000") for _ in range(2))
    assert first.name == "sweep-20260101-000000"
    assert second.name.startswith("sweep-20260101-000000-")
    assert second.is_dir()


def test_a_sweep_is_called_like_its_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def folder_of_another_second(reports_dir: Path, _sweep_id: str) -> Path:
        (folder := reports_dir / "sweep-of-its-own").mkdir(parents=True)
        return folder

    monkeypatch.setattr(sweep, "_make_folder", folder_of_another_second)
    monkeypatch.setattr(sweep._Sweep, "run", lambda _self: None)
    main(["sweep", "ai_api", "--rates", "1"])
    written = json.loads((project / "reports" / "sweep-of-its-own" / "sweep.json").read_text())
    assert written["sweep_id"] == "sweep-of-its-own"


def test_the_shape_is_where_locust_is_told_that_it_is() -> None:
    assert sweep.SHAPE.is_file()
    # Locust puts the folder of a file first on the path while it loads it.
    assert sorted(path.name for path in sweep.SHAPE.parent.glob("*.py")) == ["__init__.py", "level.py"]


def test_an_interrupt_is_answered_on_the_line_of_its_level(project: Path) -> None:
    """Users in flight may take a minute to finish: without a word it would look as if nobody had heard."""
    arguments, _ = build_parser().parse_known_args(["sweep", "ai_api", "--rates", "1"])
    plan = sweep._plan(arguments, sweep.load_config(directory=project, environ={}, flags={}))
    with Interrupts() as interrupts:
        under_way = sweep._Sweep(plan, [], project, interrupts, keeps_going=False)
        assert (under_way._doing(""), under_way._doing("00:02/00:10")) == ("starting", "00:02/00:10")
        signal.raise_signal(signal.SIGINT)
        assert under_way._doing("00:02/00:10").startswith("stopping")


# --- the process of a level


def said(folder: Path, text: str) -> str:
    log = folder / "locust.log"
    log.write_text(text)
    return Ended(2, None, log).complaint()


def test_a_complaint_is_what_the_process_said_from_its_first_error_on(tmp_path: Path) -> None:
    assert (
        said(
            tmp_path,
            "[2026-01-01 00:00:00,000] host/INFO/locust.main: Starting\n"
            "[2026-01-01 00:00:00,100] host/ERROR/perfload: nothing answers at http://127.0.0.1:9\n"
            "  start the system under test\n",
        )
        == "nothing answers at http://127.0.0.1:9\n  start the system under test"
    )
    assert said(tmp_path, "perfload: phase 'x' has no duration\n") == "phase 'x' has no duration"
    assert said(tmp_path, "Traceback (most recent call last):\n  File\nKeyError: 1\n").endswith("KeyError: 1")
    assert said(tmp_path, "Unknown User(s): Chatt\n") == "Unknown User(s): Chatt"
    assert said(tmp_path, "") == "it said nothing"


def test_a_complaint_is_short_and_commands_no_terminal(tmp_path: Path) -> None:
    assert said(tmp_path, "perfload: \x1b[31mred\n") == r"\x1b[31mred"
    assert len(said(tmp_path, "line\n" * 500).splitlines()) == 12


WRITES = """
import sys, pathlib, os
folder = pathlib.Path(sys.argv[1]) / "run"
print("[2026-01-01 00:00:00,000] host/INFO/locust.main: Starting")
print("[2026-01-01 00:00:02,000] host/INFO/perfload: 00:02/00:10  Measured  4 users", flush=True)
sys.stdin.read()
folder.mkdir()
(folder / "run.json").write_text(os.environ["WORD"])
sys.exit(3)
"""


def test_a_process_writes_into_its_folder_and_its_progress_is_read_from_there(tmp_path: Path) -> None:
    folder = tmp_path / "level-4"
    seen: list[str] = []
    with LevelProcess([sys.executable, "-c", WRITES, str(folder)], folder, {"WORD": "given"}) as process:
        ended = process.wait(seen.append)
        assert process.progress() == "00:02/00:10  Measured  4 users"
    assert (ended.code, ended.run) == (3, folder / "run")
    assert (folder / "run" / "run.json").read_text() == "given"
    assert set(seen) <= {"", "00:02/00:10  Measured  4 users"}


def test_a_process_that_is_left_alone_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(RuntimeError), LevelProcess(command, tmp_path / "level-1", {}) as process:
        raise RuntimeError
    assert process.process.returncode == -9


# --- perfload report


def a_sweep(folder: Path, *latencies_us: int, rules: tuple[str, ...] = ("p95 < 1s",)) -> Path:
    """Write a sweep with a level for each latency, without its page."""
    runs = []
    for number, latency_us in enumerate(latencies_us, 1):
        record(folder / f"level-{number}" / "run", latency_us=latency_us)
        runs.append({"level": number, "run": f"level-{number}/run", "verdict": "told before"})
    plan = {
        "schema": 1,
        "sweep_id": "sweep-20260101-000000",
        "started_at": "2026-01-01T00:00:00+00:00",
        "scenario": "ai_api",
        "model": "arrivals",
        "planned": [float(row["level"]) for row in runs],  # type: ignore[arg-type]
        **dict.fromkeys(("warmup_s", "pause_s"), 0.0),
        "duration_s": 2.0,
        "time_scale": 1.0,
        "goodput_percent": None,
        "rules": list(rules),
        "left_out": [],
    }
    (folder / "sweep.json").write_text(json.dumps(plan | {"levels": runs, "end": "finished", "end_note": ""}))
    return folder


@pytest.mark.parametrize(
    ("latencies_us", "code", "best"),
    [((1_000, 1_000, 2_000_000), 0, 2.0), ((2_000_000, 1_000), 3, None), ((1_000,), 0, 1.0)],
)
def test_report_judges_all_levels_anew(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    latencies_us: tuple[int, ...],
    code: int,
    best: float | None,
) -> None:
    folder = a_sweep(tmp_path / "sweep", *latencies_us)
    assert main(["report", str(folder)]) == code
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == "Report: sweep/sweep.html"
    summary = json.loads((folder / "sweep.json").read_text())
    assert summary["best"] == best
    assert len(summary["levels"]) == len(latencies_us)
    assert summary["host"] == MANIFEST.host
    assert 'href="./level-1/run/report.html"' in (folder / "sweep.html").read_text("utf-8")
    assert main(["report", "--json", str(folder)]) == code
    assert json.loads(capsys.readouterr().out) == summary


def test_report_of_a_sweep_that_was_killed_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_sweep(tmp_path / "sweep", 1_000)
    value = json.loads((folder / "sweep.json").read_text())
    value |= {"end": "running", "end_note": "It was killed.", "planned": [1.0, 2.0]}
    (folder / "sweep.json").write_text(json.dumps(value))
    assert main(["report", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "It was killed." in out
    assert "No higher one was run." in out


def test_report_of_a_sweep_that_was_killed_has_the_level_that_was_under_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_sweep(tmp_path / "sweep", 1_000, 1_000)
    value = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(value | {"end": "running", "levels": value["levels"][:1]}))
    assert main(["report", "--json", str(folder)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [(row["level"], row["run"]) for row in summary["levels"]] == [
        (1.0, "level-1/run"),
        (2.0, "level-2/run"),
    ]


def test_a_sweep_without_a_level_can_be_reported(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its scenario asks for what is not there, so the first run does not start."""
    (project / "locustfiles" / "ai_api.py").write_text("import nowhere_at_all\n")
    assert main(["sweep", "ai_api", "--rates", "1"]) == ExitCode.USAGE
    assert "nowhere_at_all" in capsys.readouterr().err
    (folder,) = (project / "reports").iterdir()
    assert main(["report", str(folder)]) == ExitCode.UNEXPECTED
    out = capsys.readouterr().out
    assert "No level was run." in out
    assert "The run of 1/s did not start." in out


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"schema": 9}, "it is no sweep of schema 1"),
        ({"levels": [{"level": 1, "run": "../../run"}]}, "is not below the sweep"),
        ({"levels": [{"level": 1, "run": "/etc"}]}, "is no folder of a run"),
        ({"levels": [{"level": 1, "run": ""}]}, "is no folder of a run"),
        ({"levels": [{"level": "x", "run": "level-1/run"}]}, "'x' is none of its levels"),
        ({"levels": [{"level": float("nan"), "run": "level-1/run"}]}, "nan is none of its levels"),
        ({"levels": [{}]}, "'level'"),
        ({"duration_s": 10**400}, "too large"),
        ({"end": "lost"}, "it ended as 'lost'"),
    ],
)
def test_a_sweep_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, object], why: str
) -> None:
    folder = a_sweep(tmp_path / "sweep", 1_000)
    value = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(value | changed))
    assert main(["report", str(folder)]) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert "sweep.json cannot be read" in err
    assert why in err


def test_a_sweep_whose_run_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_sweep(tmp_path / "sweep", 1_000)
    (folder / "level-1" / "run" / "run.json").unlink()
    assert main(["report", str(folder)]) == ExitCode.USAGE
    assert "is no run record" in capsys.readouterr().err


def test_the_report_of_one_level_is_that_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = a_sweep(tmp_path / "sweep", 1_000)
    assert main(["report", str(folder / "level-1" / "run")]) == 0
    assert (folder / "level-1" / "run" / "report.html").exists()
