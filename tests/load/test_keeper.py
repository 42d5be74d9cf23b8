"""The process that keeps a run's record, from the first user to the report, with and without workers."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from locust import User, constant, task

from perfload.config import load_config
from perfload.errors import UsageError
from perfload.load import Phase, PhasedShape
from perfload.load.keeper import CLUSTER_LEAD_S, LOCAL_LEAD_S, Keeper
from perfload.load.shape import digest
from perfload.model import NodeRecord
from perfload.plan import Plan
from perfload.shares import evenly
from perfload.store import load
from tests.load.conftest import wait_for


class LoadTest(PhasedShape):
    phases = (Phase(name="Load", duration=60, arrival_rate=1),)


class Visitor(User):
    wait_time = constant(0)

    @task
    def nothing(self) -> None:
        """Do nothing."""


class Link:
    """Stands between the keeper and workers; keeps what it was asked to do."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def begin(self, run: Any, terms: Any, plan: Any) -> None:
        self.asked.append(("begin", run, terms, plan))

    def drain(self, stop_timeout_s: float) -> None:
        self.asked.append(("drain", stop_timeout_s))

    def end(self) -> None:
        self.asked.append(("end",))


class Site:
    """A keeper in an environment with a shape, or none."""

    def __init__(self, environment: Any, folder: Path, shape: PhasedShape | None, link: Any = None) -> None:
        environment.shape_class = shape
        environment.host = "http://localhost:8000"
        environment.locustfile = "mine.py"
        environment.stop_timeout = 12.0
        flags = {"monitors.host": False, "run.reports_dir": "reports", "run.seed": 7}
        flags["target.allow"] = ["a.example.com"]
        config = load_config(directory=folder, environ={}, flags=flags)
        self.checked: list[str] = []
        self.reported: list[Path] = []
        self.interrupts = SimpleNamespace(install=lambda: self.checked.append("signals"), received=False)
        preflight = SimpleNamespace(
            check_target=lambda: self.checked.append("target"),
            check_rules=lambda: self.checked.append("rules"),
            plan=lambda: shape.plan(1.0) if shape else None,
        )
        self.shape = shape
        interrupts: Any = self.interrupts
        self.keeper = Keeper(environment, config, preflight, interrupts, link)  # type: ignore[arg-type]
        reporting: Any = SimpleNamespace(start=self.reported.append, wait=lambda: 3)
        self.keeper._reporting = reporting

    def record(self) -> Any:
        (folder,) = self.reported
        return load(folder)


@pytest.fixture
def make_site(make_environment: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(shape: PhasedShape | None, link: Any = None) -> Site:
        made.append(Site(make_environment(Visitor), tmp_path, shape, link))
        return made[-1]

    yield make
    for site in made:
        site.keeper.stopped()


MakeSite = Callable[..., Site]


def test_a_process_alone_makes_all_of_the_load(make_site: MakeSite) -> None:
    site = make_site(LoadTest())
    before_s = time.time()
    node = site.keeper.begin()
    assert node is not None
    node.start()
    assert site.checked == ["target", "rules", "signals"]
    assert site.keeper.is_busy
    terms = node.assignment
    assert (terms.node, terms.index, terms.count, terms.seed) == ("local", 0, 1, 7)
    assert (terms.eras, terms.version) == ((evenly([0], 0.0),), 0)
    assert node.licence.may_lapse is False
    assert before_s + LOCAL_LEAD_S <= terms.started_at_s <= time.time() + LOCAL_LEAD_S
    run = site.keeper.run
    assert run is not None
    assert node.clock is run.clock
    assert load(run.folder).manifest.end_reason == "running"
    site.keeper.stopping()
    node.finish()
    site.keeper.stopped()
    assert not site.keeper.is_busy
    manifest = site.record().manifest
    assert (manifest.end_reason, manifest.end_note) == ("stopped", "stopped before its plan had ended")
    assert manifest.nodes == (NodeRecord("local", 0, complete=True, last_second=-1),)
    assert site.keeper.finish() == 3


def test_over_workers_the_keeper_makes_no_load_of_its_own(make_site: MakeSite) -> None:
    link = Link()
    site = make_site(LoadTest(), link)
    assert site.keeper.begin() is None
    ((_, run, terms, plan),) = link.asked
    assert run is site.keeper.run
    assert (terms.run_id, terms.zero_s) == (run.folder.name, run.clock.zero_s)
    assert (terms.shape, terms.time_scale) == ("LoadTest", 1.0)
    assert terms.phases == digest(plan) != digest(Plan([Phase(name="Load", duration=60, arrival_rate=2)]))
    assert terms.allow[-1] == "a.example.com"
    assert run.clock.now_s() == pytest.approx(-CLUSTER_LEAD_S, abs=0.5)
    assert plan.duration_s == 60.0
    site.keeper.stopping()
    assert run.has_ended
    site.keeper.stopped()
    assert link.asked[1:] == [("drain", 12.0), ("end",)]


@pytest.mark.parametrize(
    ("received", "breach", "finished", "end"),
    [
        (True, "p95 is too high", True, ("interrupted", "stopped by a signal")),
        (False, "p95 is too high", True, ("aborted", "p95 is too high")),
        (False, "", True, ("finished", "")),
        (False, "", False, ("stopped", "stopped before its plan had ended")),
    ],
)
def test_the_record_says_how_a_run_ended(
    make_site: MakeSite, received: bool, breach: str, finished: bool, end: tuple[str, str]
) -> None:
    site = make_site(LoadTest(), Link())
    site.keeper.begin()
    run = site.keeper.run
    assert run is not None
    site.interrupts.received, run.breach, run.finished = received, breach, finished
    site.keeper.stopping()
    site.keeper.stopped()
    manifest = site.record().manifest
    assert (manifest.end_reason, manifest.end_note) == end


def test_a_run_without_a_plan_is_finished_whenever_it_is_stopped(make_site: MakeSite) -> None:
    site = make_site(None, Link())
    site.keeper.begin()
    site.keeper.stopping()
    site.keeper.stopped()
    manifest = site.record().manifest
    assert (manifest.end_reason, manifest.end_note) == ("finished", "")
    assert manifest.run_id.split("-")[2] == "mine"


def test_a_shape_is_over_when_its_run_is(make_site: MakeSite) -> None:
    site = make_site(LoadTest(), Link())
    assert site.shape is not None
    assert site.shape.tick() == (0, 1.0)
    site.keeper.begin()
    assert site.shape.tick() == (0, 1.0)
    assert site.keeper.run is not None
    site.keeper.run.breach = "p95 is too high"
    assert site.shape.tick() is None


def test_nothing_is_started_while_the_last_run_is_being_stopped(make_site: MakeSite) -> None:
    site = make_site(LoadTest(), Link())
    started: list[str | None] = []
    site.keeper._preflight.check_start = started.append  # type: ignore[method-assign]
    site.keeper.check_start("http://a.example.com")
    site.keeper.begin()
    site.keeper.check_start(None)  # more users for the run that goes on
    site.keeper.stopping()
    with pytest.raises(UsageError, match="the last run is still being stopped\n  wait for its report"):
        site.keeper.check_start(None)
    site.keeper.stopped()
    site.keeper.check_start(None)
    assert started == ["http://a.example.com", None, None]


def test_without_a_run_there_is_nothing_to_end(make_site: MakeSite) -> None:
    link = Link()
    site = make_site(LoadTest(), link)
    site.keeper.stopping()
    site.keeper.stopped()
    assert (link.asked, site.reported) == ([], [])


def test_a_rule_that_is_broken_ends_a_run_without_a_plan(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(None, Link())
    site.keeper.begin()
    stopped: list[bool] = []
    site.keeper._environment.runner.stop = lambda: stopped.append(True)
    assert site.keeper.run is not None
    site.keeper.run.breach = "p95 is too high"
    wait_for(lambda: stopped == [True])
    assert "aborting the run: p95 is too high" in caplog.messages
