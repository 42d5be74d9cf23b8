"""What the scenario stops waiting for counts as failed, and the reason why it stopped goes on."""

import gevent
import pytest
from gevent.event import Event

from tests.load.conftest import wait_for
from tests.load.http.conftest import Client
from tests.load.http.servers import HANG, OK, ScriptedServer

BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
STOPPED = "no response when the run ended"
TIMED_OUT = "timed out: by the scenario"


class SlowError(Exception):
    """What a scenario has its timeouts raise."""


@pytest.fixture
def hanging(server: ScriptedServer) -> ScriptedServer:
    """A server that begins to answer and does not go on."""
    server.answer(BEGUN, HANG)
    return server


def test_a_user_that_is_stopped_as_it_waits_for_the_next_piece(
    hanging: ScriptedServer, client: Client
) -> None:
    pieces: list[bytes] = []

    def note() -> None:
        with client.get("/", stream=True, catch_response=True) as reply:
            for piece in reply.iter_chunks():
                pieces.append(piece)

    reading = gevent.spawn(note)
    wait_for(lambda: pieces == [b"ok"])
    reading.kill()
    assert isinstance(reading.value, gevent.GreenletExit)
    assert client.reasons == [STOPPED]
    assert client.events[0]["response_length"] == 2
    assert hanging.hung_up.wait(2)


@pytest.mark.parametrize("is_described", [False, True])
def test_a_timeout_of_the_scenario(hanging: ScriptedServer, client: Client, *, is_described: bool) -> None:
    def read() -> None:
        with client.get("/", stream=True, catch_response=True) as reply:
            if is_described:
                reply.request_meta["name"] = "another"
            list(reply.iter_chunks())

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        read()
    assert client.reasons == [TIMED_OUT]
    assert client.events[0]["response_time"] >= 50
    assert hanging.hung_up.wait(2)


def test_a_timeout_with_an_error_of_the_scenario(server: ScriptedServer, client: Client) -> None:
    server.answer(HANG)
    with pytest.raises(SlowError), gevent.Timeout(0.05, SlowError()):
        client.get("/")
    assert client.reasons == [TIMED_OUT]


def test_a_timeout_of_a_stream_with_an_error_of_the_scenario(hanging: ScriptedServer, client: Client) -> None:
    def read() -> None:
        with client.get("/", stream=True, catch_response=True) as reply:
            list(reply.iter_chunks())

    with pytest.raises(SlowError), gevent.Timeout(0.05, SlowError()):
        read()
    assert client.reasons == [TIMED_OUT]
    assert hanging.hung_up.wait(2)


def test_what_the_scenario_says_of_a_stream_that_was_cut_off_counts(
    hanging: ScriptedServer, client: Client
) -> None:
    def enough() -> None:
        with client.get("/", stream=True, catch_response=True) as reply:
            try:
                list(reply.iter_chunks())
            finally:
                reply.success()

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        enough()
    assert client.reasons == [None]


@pytest.mark.parametrize("stream", [False, True])
def test_a_user_that_is_stopped_as_it_does_something_else(
    server: ScriptedServer, client: Client, *, stream: bool
) -> None:
    server.answer(*([BEGUN, HANG] if stream else [OK]))
    has_it = Event()

    def think() -> None:
        with client.get("/", stream=stream, catch_response=True) as reply:
            assert next(reply.iter_chunks()) == b"ok"
            has_it.set()
            gevent.sleep(60)

    thinking = gevent.spawn(think)
    assert has_it.wait(2)
    thinking.kill()
    assert isinstance(thinking.value, gevent.GreenletExit)
    assert client.reasons == [None]
