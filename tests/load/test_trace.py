"""A shape that replays a trace, and the users who ask what was asked."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from locust import User, constant, task
from locust.util.load_locustfile import is_shape_class

from perfload.errors import UsageError
from perfload.load import OpenAIUser, Phase, PhasedShape, TraceShape, TraceUser, plugin, traced
from perfload.load import trace as load_trace
from perfload.load.arrivals import Visit
from perfload.load.clock import RunClock
from perfload.load.shape import digest
from perfload.load.users import check_users
from perfload.plan import Arrival
from perfload.trace import TraceRequest
from tests.load.test_dispatcher import Site

pytestmark = pytest.mark.ai

MakeShape = Callable[..., TraceShape]

ROWS = [(0.0, 10, 1), (0.0, 20, 2), (0.05, 30, 3), (0.1, 40, 4), (0.1, 50, 5), (0.1, 60, 6), (1.2, 70, 7)]


def written(path: Path, rows: list[tuple[float, int, int]]) -> Path:
    lines = [",".join(map(str, row)) for row in [("at_s", "input_tokens", "output_tokens"), *rows]]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def make_shape(tmp_path: Path) -> MakeShape:
    """Return a function that makes the replay of `ROWS`, with some attributes."""
    path = written(tmp_path / "night.csv", ROWS)

    def make(**attributes: Any) -> TraceShape:
        kind = type("Night", (TraceShape,), {"abstract": False, "trace": path, **attributes})
        shape = kind()
        assert isinstance(shape, TraceShape)
        return shape

    return make


# --- the plan


def times(shape: TraceShape, time_scale: float = 1.0) -> list[float]:
    return [step.at_s for step in shape.plan(time_scale).schedule() if isinstance(step, Arrival)]


def test_locust_picks_up_a_replay_and_not_its_base(make_shape: MakeShape) -> None:
    assert not is_shape_class(TraceShape)
    assert is_shape_class(type(make_shape()))


def test_arrivals_come_at_the_times_of_the_trace(make_shape: MakeShape) -> None:
    shape = make_shape(max_users=9)
    assert times(shape) == [at_s for at_s, _, _ in ROWS]
    (span,) = shape.plan(1.0).spans
    assert (span.name, span.duration_s, span.planned) == ("night.csv", 2.0, 7)
    assert shape.plan(1.0).max_users_at(1) == 9


@pytest.mark.parametrize("speed", [4, 4.0, "4", "4.0"])
def test_the_speed_divides_the_times(make_shape: MakeShape, speed: object) -> None:
    shape = make_shape(speed=speed)
    assert times(shape) == pytest.approx([at_s / 4 for at_s, _, _ in ROWS])
    assert times(shape, time_scale=2.0) == pytest.approx([at_s / 8 for at_s, _, _ in ROWS])
    assert [(span.name, span.duration_s) for span in shape.plan(1.0).spans] == [("night.csv x 4", 0.5)]


def test_a_part_of_the_trace_begins_at_zero(make_shape: MakeShape) -> None:
    shape = make_shape(start="50ms", duration="0.1", speed="0.5")
    assert times(shape) == pytest.approx([0, 0.1, 0.1, 0.1])
    (span,) = shape.plan(1.0).spans
    assert (span.name, span.duration_s) == ("night.csv from 50 ms x 0.5", pytest.approx(0.2))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"trace": ""}, "Night names no trace"),
        ({"trace": "nowhere.csv"}, "nowhere.csv cannot be read"),
        ({"start": "soon"}, "Night, start: 'soon' is not a duration"),
        ({"start": "1h"}, "has no request from 3600 s on"),
        ({"duration": "long"}, "Night, duration: 'long' is not a duration"),
        ({"speed": "fast"}, "Night, speed: 'fast' is not a speed"),
        ({"speed": 0}, "Night, speed: 0 is not a speed"),
        ({"speed": -1.0}, "Night, speed: -1.0 is not a speed"),
        ({"speed": "nan"}, "Night, speed: 'nan' is not a speed"),
        ({"speed": "inf"}, "Night, speed: 'inf' is not a speed"),
        ({"max_users": 0}, "max_users is 0"),
    ],
)
def test_what_makes_no_plan_is_said_when_it_is_made(
    make_shape: MakeShape, attributes: dict[str, Any], message: str
) -> None:
    shape = make_shape(**attributes)  # by Locust, which would show a traceback
    with pytest.raises(UsageError, match=message):
        shape.plan(1.0)


def test_a_file_is_read_once(make_shape: MakeShape, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = make_shape()
    monkeypatch.setattr(load_trace, "read_trace", None)
    assert shape.plan(1.0).trace is shape.plan(60.0).trace is make_shape().read()


def test_the_digest_tells_times_and_lengths_apart(make_shape: MakeShape, tmp_path: Path) -> None:
    def digest_of(rows: list[tuple[float, int, int]], **attributes: Any) -> str:
        written(tmp_path / "other.csv", rows)
        load_trace._read.cache_clear()
        # The same name: on another machine it is another file.
        shape = make_shape(trace=tmp_path / "other.csv", **attributes)
        return digest(shape.plan(1.0))

    longer = [*ROWS[:3], (0.1, 41, 4), *ROWS[4:]]
    later = [*ROWS[:2], (0.06, 30, 3), *ROWS[3:]]
    found = [digest_of(rows) for rows in (ROWS, longer, later)] + [digest_of(ROWS, speed=2)]
    assert len(set(found)) == 4
    assert digest_of(ROWS) == found[0]


# --- who asks what


class Asking(User):
    """Notes what it is to ask."""

    wait_time = constant(0)
    noted: list[tuple[float, TraceRequest]]

    @task
    def ask(self) -> None:
        self.noted.append((self.perfload_visit.due_s, traced(self)))


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_the_nodes_together_ask_exactly_what_was_asked(
    make_shape: MakeShape, make_environment: Callable[..., Any], nodes: int
) -> None:
    plan = make_shape(speed=10).plan(1.0)
    assert plan.trace is not None
    noted: list[tuple[float, TraceRequest]] = []
    shares = []
    for index in range(nodes):
        asking = type("Asker", (Asking,), {"noted": []})
        site = Site(make_environment(asking), plan, RunClock(time.time() + 0.02), index=index, count=nodes)
        site.run()
        site.timer.close()
        shares.append(len(asking.noted))
        noted += asking.noted
    assert max(shares) - min(shares) <= 1
    assert sorted(noted, key=lambda pair: pair[1].input_tokens) == [
        (request.at_s / 10, request) for request in plan.trace.requests
    ]


def test_a_user_of_no_trace_is_told_so(make_environment: Callable[..., Any]) -> None:
    user: Any = Asking(make_environment(Asking))
    for visit in (None, Visit("Load", 0.0)):
        user.perfload_visit = visit
        with pytest.raises(UsageError, match="Asking asks what a trace asked, and the load replays none"):
            traced(user)


class Replay(TraceUser, OpenAIUser):
    """What a scenario looks like."""

    host, model = "http://127.0.0.1:1", "m"

    @task
    def ask(self) -> None:
        """Ask nothing: only the checks before the load are of interest."""


class Steady(PhasedShape):
    phases = (Phase(name="Load", duration=1, arrival_rate=1),)


def check(monkeypatch: pytest.MonkeyPatch, *shapes: object, user_class: type[User] = Replay) -> None:
    environment = SimpleNamespace(available_shape_classes={type(shape).__name__: shape for shape in shapes})
    monkeypatch.setattr(plugin.installed, "environment", environment)
    check_users([user_class])


@pytest.mark.usefixtures("default_configuration")
def test_a_scenario_without_a_trace_is_refused_before_the_load(
    make_shape: MakeShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Replay.abstract is False
    for shapes in ([], [Steady()]):
        with pytest.raises(UsageError, match="Replay asks what a trace asked, and the load replays none"):
            check(monkeypatch, *shapes)
    check(monkeypatch, make_shape())
    check(monkeypatch, Steady(), make_shape())  # picked in the web UI
    with pytest.raises(UsageError, match="cannot be read"):
        check(monkeypatch, make_shape(trace="nowhere.csv"))


@pytest.mark.usefixtures("default_configuration")
def test_the_other_checks_of_a_scenario_are_made_too(
    make_shape: MakeShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vague(TraceUser, OpenAIUser):
        host, model, objectives = "http://127.0.0.1:1", "m", "no-such-preset"

    with pytest.raises(UsageError, match="no-such-preset"):
        check(monkeypatch, make_shape(), user_class=Vague)
