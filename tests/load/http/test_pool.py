"""Which connections a session keeps."""

from collections.abc import Callable, Iterator

import gevent
import pytest

from tests.load.conftest import wait_for
from tests.load.http.conftest import Client
from tests.load.http.servers import OK, PAUSE, ScriptedServer
from tests.load.test_users import connections_to


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    running.answer(PAUSE, OK)
    yield running
    running.close()


@pytest.fixture
def servers(server: ScriptedServer, other: ScriptedServer) -> list[ScriptedServer]:
    server.answer(PAUSE, OK)
    return [server, other]


def test_each_origin_has_one_connection(servers: list[ScriptedServer], client: Client) -> None:
    for number in range(8):
        client.get(f"{servers[number % 2].url}/{number}")
    assert client.reasons == [None] * 8
    assert [server.connections for server in servers] == [1, 1]


def test_of_those_that_were_busy_at_the_same_time_one_is_kept(
    servers: list[ScriptedServer], client: Client
) -> None:
    def idle() -> list[int]:
        return [len(connections_to(server.port)) for server in servers]

    for _ in range(2):
        gevent.joinall([gevent.spawn(client.get, f"{server.url}/") for server in servers * 3])
        wait_for(lambda: idle() == [1, 1])
    before = [server.connections for server in servers]
    for server in servers:
        client.get(f"{server.url}/")
    assert [server.connections for server in servers] == before
    assert client.reasons == [None] * 14


def test_all_that_are_kept_are_closed_with_the_session(
    servers: list[ScriptedServer], connect: Callable[..., Client]
) -> None:
    client = connect(servers[0].url)
    for server in servers:
        client.get(f"{server.url}/")
    client.close()
    for server in servers:
        assert server.hung_up.wait(2)
