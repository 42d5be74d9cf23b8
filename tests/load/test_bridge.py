from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust.exception import CatchResponseError
from locust.stats import RequestStats

from perfload.errors import UsageError
from perfload.histogram import Histogram
from perfload.load import bridge as bridge_module
from perfload.load.arrivals import Visit
from perfload.load.bridge import RequestBridge, reason_of
from perfload.load.http.call import Call
from perfload.load.http.origin import Place
from perfload.load.http.request import prepare
from perfload.load.http.response import Response
from perfload.load.http.timeouts import Limits, Timeouts
from perfload.load.statistics import StatisticsFeed
from perfload.model import ArrivalWindow, PhaseSpan, Window
from perfload.recorder import Recorder

STARTED_AT_S = 1_000_000.0
SPANS = (
    PhaseSpan("Load", 0.0, 10.0, "arrivals", 1.0, 1.0, 10),
    PhaseSpan("Peak", 10.0, 10.0, "users", 1.0, 1.0, 0),
    PhaseSpan("End", 20.0, 5.0, "arrivals", 1.0, 1.0, 5),
)


class Bench:
    """A bridge with a clock that is set by hand."""

    def __init__(self, spans: tuple[PhaseSpan, ...] = SPANS) -> None:
        self.now_s = 0.0
        self.recorder = Recorder("run", "local")
        clock: Any = SimpleNamespace(
            now_s=lambda: self.now_s, wall_now_s=lambda: STARTED_AT_S + self.now_s, zero_ns=0
        )
        self.bridge = RequestBridge(
            self.recorder, clock, spans, StatisticsFeed(SimpleNamespace(stats=RequestStats()), clock)
        )

    def request(self, now_s: float, response_time_ms: float | None, **more: Any) -> None:
        """Finish a request at second `now_s` that was sent `response_time_ms` before."""
        self.now_s = now_s
        sent_s = STARTED_AT_S + now_s - (response_time_ms or 0) / 1000
        self.bridge.on_request(
            **{
                "request_type": "GET",
                "name": "/a",
                "response_time": response_time_ms,
                "response_length": 100,
                "start_time": sent_s,
                "exception": None,
                "context": {},
                "response": None,
                "url": "/a?x=1",
            }
            | more
        )

    def windows(self) -> list[Window]:
        return [window for window in self.recorder.take() if isinstance(window, Window)]


def as_visitor(body: Any, *, phase: str = "Load", due_s: float) -> None:
    """Run `body` as the virtual user that was due at second `due_s`."""
    greenlet = gevent.Greenlet(body)
    greenlet.perfload_visit = Visit(phase, due_s)
    greenlet.start()
    greenlet.get()


def test_the_first_request_of_an_arrival_counts_from_its_intended_start() -> None:
    bench = Bench()

    def chain() -> None:
        bench.request(5.5, 200.0)  # sent at 5.3, due at 4.9
        bench.request(7.5, 300.0)

    as_visitor(chain, due_s=4.9)
    first, second = bench.windows()
    assert (first.second, first.due) == (5, ((4, 1, 0),))
    assert (first.latency, first.service) == (Histogram([600_000]), Histogram([200_000]))
    assert (second.second, second.due) == (7, ((7, 1, 0),))
    assert (second.latency, second.service) == (Histogram([300_000]), Histogram([300_000]))
    assert first.received_bytes == 100


def test_a_failed_first_request_counts_from_its_intended_start_too() -> None:
    bench = Bench()

    def chain() -> None:
        bench.request(5.5, 200.0, exception=CatchResponseError("status 500, expected 200"))
        bench.request(5.9, 100.0)

    as_visitor(chain, due_s=4.5)
    (window,) = bench.windows()
    assert window.failed == Histogram([1_000_000])
    assert window.latency == Histogram([100_000])
    assert window.reasons == (("status 500, expected 200", 1),)
    assert window.due == ((4, 0, 1), (5, 1, 0))


def test_a_visit_keeps_its_phase_however_late_its_requests_end() -> None:
    bench = Bench()
    as_visitor(lambda: bench.request(21.0, 100.0), phase="Load", due_s=9.9)
    (window,) = bench.windows()
    assert (window.phase, window.second, window.due) == ("Load", 21, ((9, 1, 0),))


def test_a_clock_that_was_set_back_shortens_no_latency() -> None:
    bench = Bench()
    as_visitor(lambda: bench.request(5.5, 200.0, start_time=STARTED_AT_S - 50), due_s=5.0)
    (window,) = bench.windows()
    assert window.latency == window.service == Histogram([200_000])


def test_a_client_that_does_not_say_when_it_sent_has_service_time_alone() -> None:
    bench = Bench()
    as_visitor(lambda: bench.request(5.5, 200.0, start_time=None), due_s=4.0)
    (window,) = bench.windows()
    assert window.latency == window.service == Histogram([200_000])
    assert window.due == ((4, 1, 0),)


@pytest.mark.parametrize(
    ("now_s", "response_time_ms", "phase", "due_second"),
    [
        (9.95, 100.0, "Load", 9),
        (10.05, 100.0, "Load", 9),  # sent in the first phase
        (10.2, 100.0, "Peak", 10),
        (24.5, 100.0, "End", 24),
        (99.0, 100.0, "End", 98),  # after the plan
        (0.05, 100.0, "Load", 0),  # before it
    ],
)
def test_a_user_without_a_visit_is_in_the_phase_in_which_it_sends(
    now_s: float, response_time_ms: float, phase: str, due_second: int
) -> None:
    bench = Bench()
    bench.request(now_s, response_time_ms)
    (window,) = bench.windows()
    assert (window.phase, window.second, window.due) == (phase, int(now_s), ((due_second, 1, 0),))
    assert window.latency == window.service == Histogram([100_000])


def test_phases_are_found_in_any_order_of_requests() -> None:
    bench = Bench()
    for now_s in (22.0, 1.0, 15.0, 2.0, 22.5):
        bench.request(now_s, 1.0)
    assert [(window.second, window.phase) for window in bench.windows()] == [
        (1, "Load"),
        (2, "Load"),
        (15, "Peak"),
        (22, "End"),
    ]


def test_a_run_without_a_plan_has_one_phase_without_an_end() -> None:
    bench = Bench((PhaseSpan("Closed load", 0.0, 0.0, "users", 0.0, 0.0, 0),))
    bench.request(5_000.0, 1.0)
    assert [window.phase for window in bench.windows()] == ["Closed load"]


def test_a_message_without_a_response_time_is_no_request() -> None:
    bench = Bench()

    def chain() -> None:
        bench.request(5.2, None)
        bench.request(5.5, 200.0)

    as_visitor(chain, due_s=5.0)
    (window,) = bench.windows()
    assert window.count == 1
    assert window.latency == Histogram([500_000])  # still the first one that was awaited


def test_a_response_without_a_length_has_no_bytes() -> None:
    bench = Bench()
    bench.request(1.0, 1.0, response_length=None)
    assert bench.windows()[0].received_bytes == 0


def test_microseconds_are_kept() -> None:
    bench = Bench()
    bench.request(1.0, 1.2344)
    assert bench.windows()[0].service == Histogram([1_234])


def test_errors_of_the_scenarios_own_code_are_counted_with_the_arrivals() -> None:
    bench = Bench()
    bench.now_s = 11.5

    def fail() -> None:
        bench.bridge.on_user_error(user_instance=None, exception=KeyError("token"), tb=None)

    as_visitor(fail, phase="Load", due_s=9.0)
    as_visitor(fail, phase="Load", due_s=9.5)
    bench.bridge.on_user_error(exception=UsageError("no row left", hint="add rows"))
    assert bench.recorder.take() == [
        ArrivalWindow("run", "local", 11, "Load", Histogram(), errors=(("KeyError('token')", 2),)),
        ArrivalWindow("run", "local", 11, "Peak", Histogram(), errors=(("no row left", 1),)),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CatchResponseError("status 500, expected 200"), "status 500, expected 200"),
        ("a text", "a text"),
        (ValueError("no"), "ValueError('no')"),
        (OSError("gone at <object at 0x7f00deadbeef>"), "OSError('gone at <object at 0x....>')"),
    ],
)
def test_the_same_failure_has_the_same_reason(error: Exception | str, reason: str) -> None:
    assert reason_of(error) == reason


def test_secrets_and_half_characters_from_outside_are_not_recorded() -> None:
    bench = Bench()
    key = "sk-" + "a1B2" * 8
    bench.request(1.0, 10, name=f"/models?api_key={key}", exception=f"no such key {key} \ud800")
    (window,) = bench.recorder.take()
    assert isinstance(window, Window)
    assert window.name == "/models?api_key=***"
    assert window.reasons == (("no such key *** \\ud800", 1),)


def exchanged(began_s: float, taken_s: float, visit: Visit | None = None) -> Response:
    """Return a response of perfload's own client."""
    limits = Limits(Timeouts(), 1 << 20)
    call = Call(prepare("GET", Place("http://localhost/a"), {}), "/a", None, None, False, limits, visit)
    call.began_ns = round(began_s * 1e9)
    response = Response(200, b"", b"", call.began_ns + round(taken_s * 1e9))
    response.call = call
    response.began_ns = response.sent_ns = response.first_byte_ns = call.began_ns
    return response


def test_a_request_is_dated_by_its_beginning_however_long_it_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    monkeypatch.setattr(bridge_module, "_perf_counter_ns", lambda: 13_000_000_000)
    bench.bridge.passed(exchanged(9.5, 0.1))
    # The scenario has marked it 3.4 s after it had come; `start_time` is as inexact as the wall clock.
    bench.request(13.0, 100.0, response=exchanged(9.5, 0.1), exception="not good", start_time=None)
    (window,) = bench.windows()
    assert (window.phase, window.second, window.due) == ("Load", 13, ((9, 1, 1),))
    assert window.latency == window.failed == Histogram([100_000])


def test_what_an_arrival_waited_for_its_start_ends_where_its_request_begins() -> None:
    bench = Bench()
    visit = Visit("Load", 9.0)
    bench.request(13.0, 100.0, response=exchanged(9.5, 0.1, visit), exception="not good")
    (window,) = bench.windows()
    assert (window.failed, window.due) == (Histogram([600_000]), ((9, 0, 1),))
