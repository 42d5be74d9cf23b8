import json
from pathlib import Path

import pytest

from perfload.cli import plan
from perfload.cli.main import main
from perfload.cli.shape_file import read_phases
from perfload.costs import COSTS
from perfload.errors import UsageError
from perfload.histogram import Histogram
from perfload.model import ArrivalWindow, Phase, Reading, Window
from perfload.store import RunWriter
from perfload.trace import read_trace
from tests.unit.cli.test_cli_report import MANIFEST, NODE

ROOT = Path(__file__).parents[3]

SHAPE = """
from perfload.load import Phase, PhasedShape


class Lunch(PhasedShape):
    phases = (
        Phase(name="Rush", duration="10m", arrival_rate=10, ramp_to=40, max_users=500, poisson_seed=3),
        Phase(name="Desks", duration=90, users=5, ramp_to_users=7, warmup=True),
        Phase(name="Quiet", duration="1m", pause=True),
        Phase(name="Last", duration="1m", arrival_count=30),
    )
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one shape, in which the test runs."""
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "lunch.py").write_text(SHAPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch, project: Path) -> Path:
    """The same, with a plan that needs no file to be loaded: 10 arrivals a second."""
    phases = [Phase(name="Steady", duration="10m", arrival_rate=10)]
    monkeypatch.setattr(plan, "read_phases", lambda _: phases)
    return project


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    assert main(["plan", "lunch", "--json", *options]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


# --- the file of a shape


def test_the_phases_of_a_file_are_those_that_its_author_wrote(project: Path) -> None:
    assert read_phases(project / "shapes" / "lunch.py") == [
        Phase(name="Rush", duration="10m", arrival_rate=10, ramp_to=40, max_users=500, poisson_seed=3),
        Phase(name="Desks", duration=90, users=5, ramp_to_users=7, warmup=True),
        Phase(name="Quiet", duration="1m", pause=True),
        Phase(name="Last", duration="1m", arrival_count=30),
    ]


def test_a_shape_may_import_its_neighbours_and_print(project: Path) -> None:
    (project / "shapes" / "rates.py").write_text("RATE = 7\n")
    path = project / "shapes" / "near.py"
    path.write_text(
        "from perfload.load import Phase, PhasedShape\nfrom rates import RATE\nprint('hello')\n"
        "class Base(PhasedShape):\n    abstract = True\n"
        "class Near(Base):\n    phases = [Phase(name='a', duration=1, arrival_rate=RATE)]\n"
    )
    assert read_phases(path) == [Phase(name="a", duration=1, arrival_rate=7)]


def test_arrival_times_come_through_to_the_bit(project: Path) -> None:
    path = project / "shapes" / "thirds.py"
    path.write_text(
        "from perfload.load import Phase, PhasedShape\n"
        "class Thirds(PhasedShape):\n"
        "    phases = [Phase(name='a', duration=1, arrival_times=[n / 3 for n in range(4)])]\n"
    )
    assert read_phases(path) == [Phase(name="a", duration=1, arrival_times=[n / 3 for n in range(4)])]


TRACE_REPLAY = ROOT / "shapes" / "trace_replay.py"


def test_the_trace_that_ships(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PERFLOAD_TRACE_SPEED", "2")
    monkeypatch.setenv("PERFLOAD_TRACE_START", "1m")
    monkeypatch.setenv("PERFLOAD_TRACE_DURATION", "300")
    assert main(["plan", str(TRACE_REPLAY), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    trace = read_trace(ROOT / "data" / "ai_trace.jsonl", start_s=60, duration_s=300)
    (phase,) = found["phases"]
    assert (phase["name"], phase["duration_s"]) == ("ai_trace.jsonl from 60 s x 2", 150)
    assert phase["arrivals"] == len(trace.requests) > 400


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PERFLOAD_TRACE", "nowhere.csv", "nowhere.csv cannot be read"),
        ("PERFLOAD_TRACE_START", "soon", "TraceReplay, start: 'soon' is not a duration"),
        ("PERFLOAD_TRACE_SPEED", "0", "TraceReplay, speed: '0' is not a speed"),
    ],
)
def test_a_trace_that_cannot_be_replayed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=message):
        read_phases(TRACE_REPLAY)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("x = 1\n", "there is no shape in {path}", "a shape is a class of phases"),
        (
            SHAPE + "\nclass Dinner(Lunch):\n    pass\n",
            "there are 2 shapes in {path}: Lunch, Dinner",
            "keep one in each file",
        ),
        (
            SHAPE.replace("arrival_count=30", "arrival_cuont=30"),
            "phase 'Last' has an unknown option",
            "did you",
        ),
        (SHAPE.replace('"Last"', '"Rush"'), "two phases are named 'Rush'", "results are kept per phase"),
        ("import nothing_of_the_kind\n", "{path}, line 1: ModuleNotFoundError: No module", "mend the shape"),
        ("\n\n1 / 0\n", "{path}, line 3: ZeroDivisionError: division by zero", "mend the shape"),
        ("class (\n", "{path}: SyntaxError: invalid syntax", "mend the shape"),
        ("raise SystemExit('no more')\n", "{path} ends the process that loads it", "no more"),
    ],
)
def test_a_file_that_is_no_shape(project: Path, text: str, message: str, hint: str) -> None:
    path = project / "shapes" / "odd.py"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_phases(path)
    assert caught.value.message.startswith(message.format(path=path))
    assert caught.value.hint.startswith(hint)


# --- the verb


def test_a_shape_that_does_not_exist(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "lanch"]) == 2
    assert capsys.readouterr().err == (
        "perfload: there is no 'lanch', neither as a file nor in shapes/\n"
        "  did you mean lunch? Known: lunch\n"
    )


def test_a_shipped_shape_from_its_file_to_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", "load_test", "--time-scale", "60"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "load_test: 65 s, 4,075 arrivals"
    assert shown[1].startswith("  A visit lasts 3 s (assumed) and makes 2 requests (assumed).")
    assert shown[-1] == "  perfload run SCENARIO load_test --host URL --time-scale 60"


def test_the_page_about_scaling_shows_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    shown = (ROOT / "docs" / "scaling.md").read_text("utf-8").partition("```\nload_test:")[2]
    assert main(["plan", "load_test"]) == 0
    assert capsys.readouterr().out == "load_test:" + shown.partition("```\n")[0]


@pytest.mark.usefixtures("steady")
def test_the_defaults_are_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys)
    assert found["assumed"] == ["duration_s", "requests"]
    assert found["visit"] == {
        "duration_s": 3.0,
        "requests": 2.0,
        "response_bytes": 1000.0,
        "has_tls": False,
        "cpu_us": None,
    }
    assert found["stall_s"] == 60.0
    assert found["phases"][0]["users"] == 30  # type: ignore[index]
    assert found["phases"][0]["users_in_stall"] == 630  # type: ignore[index]


@pytest.mark.usefixtures("steady")
def test_options_say_what_a_visit_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "--visit", "500ms", "--requests-per-visit", "4.5", "--stall", "5s", "--tls")
    assert found["assumed"] == []
    assert found["visit"] == {
        "duration_s": 0.5,
        "requests": 4.5,
        "response_bytes": 1000.0,
        "has_tls": True,
        "cpu_us": None,
    }
    assert found["phases"][0]["users_in_stall"] == 55  # type: ignore[index]
    assert printed(capsys, "--visit", "1s")["assumed"] == ["requests"]


def record(folder: Path) -> Path:
    """Write a run of two visits, each there for a second and a half with one request of 300 bytes."""
    writer = RunWriter(folder, MANIFEST)
    latency = Histogram([1_000] * 2)
    at_s = MANIFEST.started_at_s + 0.5
    writer.append(
        [
            ArrivalWindow("run", "local", 0, "Load", Histogram([100] * 2)),
            Window("run", "local", 1, "Load", "GET", "/", latency, latency, Histogram(), received_bytes=600),
        ],
        [
            Reading(at_s, "local", "generator", "users", "users", 2.0),
            Reading(at_s + 1, "local", "generator", "users", "users", 1.0),
            Reading(at_s, "local", "generator", "cpu_percent", "%", 8.0),
        ],
    )
    writer.close("finished", ended_at_s=MANIFEST.started_at_s + 2, nodes=[NODE])
    return folder


def test_a_run_says_what_a_visit_is_and_options_know_better(
    steady: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(record(steady / "run"))
    visit = {
        "duration_s": 1.5,
        "requests": 1.0,
        "response_bytes": 300.0,
        "has_tls": False,
        "cpu_us": 40_000.0,
    }
    found = printed(capsys, "--from", run)
    assert (found["visit"], found["assumed"]) == (visit, [])
    assert printed(capsys, "--from", run, "--visit", "9s")["visit"] == visit | {"duration_s": 9.0}
    # What was measured is not of such visits.
    found = printed(capsys, "--from", run, "--requests-per-visit", "2")
    assert found["visit"] == visit | {"requests": 2.0, "cpu_us": None}
    assert printed(capsys, "--from", run, "--tls")["visit"] == visit | {"has_tls": True, "cpu_us": None}


def test_costs_of_another_machine(steady: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = steady / "cost.json"
    path.write_text(json.dumps({"costs": {"cpu_us_per_request": 1_000_000}}))
    found = printed(capsys, "--costs", str(path))
    assert found["workers"] > printed(capsys)["workers"] == 1  # type: ignore[operator]
    assert found["costs"]["cpu_us_per_visit"] == COSTS.cpu_us_per_visit  # type: ignore[index]


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--visit", "0"], "--visit is 0\n  a visit lasts longer than nothing: --visit 3s\n"),
        (["--visit", "3 sec"], "--visit: '3 sec' is not a duration\n"),
        (["--stall", "-1s"], "--stall: '-1s' is not a duration\n"),
        (["--requests-per-visit", "-1"], "--requests-per-visit is -1\n  write a number of at least 0\n"),
        (["--requests-per-visit", "nan"], "--requests-per-visit is nan\n"),
        (["--time-scale", "0"], "the time scale is 0.0\n"),
        (["--from", "nowhere"], "nowhere is no run record: it has no run.json\n"),
        (["--costs", "nowhere.json"], "nowhere.json cannot be read: "),
    ],
)
def test_a_mistake_ends_with_2_and_says_what_to_write(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    options = [f"{options[0]}={options[1]}"]
    assert main(["plan", "lunch", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"perfload: {message}")
