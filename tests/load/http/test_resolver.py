"""Names to addresses: asked for once per run, all of them used, and those that fail left for the last."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event
from locust import User, constant, task

from perfload.load.clock import RunClock
from perfload.load.http import RequestFailed
from perfload.load.http.connection import Connection
from perfload.load.http.dialer import Dialer
from perfload.load.http.origin import Origin
from perfload.load.http.resolver import Resolver, resolver
from perfload.load.node import Assignment, Node
from perfload.model import Phase
from perfload.plan import Plan
from perfload.shares import evenly
from tests.load.conftest import wait_for
from tests.load.http.conftest import Client
from tests.load.http.servers import OK, ConnectProxy, ScriptedServer

HOST = "shop.example.com"


class Visitor(User):
    wait_time = constant(1)

    @task
    def nothing(self) -> None:
        pass


class NameServer:
    """Answers with the addresses that the test gives, none being a name that does not exist."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0
        self.may_answer = Event()
        self.may_answer.set()

    def ask(self, host: str, port: int, _: int, kind: int) -> list[Any]:
        self.asked += 1
        self.may_answer.wait()
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in self.addresses * 2]


@pytest.fixture
def servers() -> Iterator[list[ScriptedServer]]:
    """Three servers at one port of three addresses."""
    running = [ScriptedServer("127.0.0.1")]
    try:
        running += [ScriptedServer(f"127.0.0.{number}", port=running[0].port) for number in (2, 3)]
    except OSError as error:
        running[0].close()
        pytest.skip(f"this machine has only one loopback address: {error}")
    yield running
    for server in running:
        server.close()


def dial(dialer: Dialer, port: int, *, limit_s: float = 2.0) -> Connection:
    origin = Origin.of("http", HOST, port)
    connection = dialer.dial(origin, time.perf_counter_ns() + int(limit_s * 1e9))
    connection.close()
    return connection


def dialer_of(names: NameServer) -> Dialer:
    return Dialer(Resolver(names.ask), ssl.create_default_context())


def test_all_addresses_are_used(servers: list[ScriptedServer]) -> None:
    names = NameServer("127.0.0.1", "127.0.0.2", "127.0.0.3")
    dialer = dialer_of(names)
    for _ in range(9):
        dial(dialer, servers[0].port)
    wait_for(lambda: [server.connections for server in servers] == [3, 3, 3])
    assert names.asked == 1


def test_an_address_that_refuses_is_left_out(servers: list[ScriptedServer]) -> None:
    servers[1].close()
    names = NameServer("127.0.0.2", "127.0.0.1", "127.0.0.3")
    dialer = dialer_of(names)
    for _ in range(8):
        dial(dialer, servers[0].port)
    wait_for(lambda: (servers[0].connections, servers[2].connections) == (5, 3))


def test_when_none_answers_the_last_reason_is_told() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(RequestFailed, match="connection refused"):
        dial(dialer_of(NameServer("127.0.0.1", "127.0.0.2")), port)


def test_many_at_once_ask_once(servers: list[ScriptedServer]) -> None:
    names = NameServer("127.0.0.1")
    names.may_answer.clear()
    dialer = dialer_of(names)
    dialling = [gevent.spawn(dial, dialer, servers[0].port) for _ in range(20)]
    wait_for(lambda: names.asked > 0)
    dialling[0].kill()
    names.may_answer.set()
    gevent.joinall(dialling, raise_error=True)
    wait_for(lambda: servers[0].connections == 19)
    assert names.asked == 1


def test_what_is_known_is_forgotten_between_runs(servers: list[ScriptedServer]) -> None:
    names = NameServer("127.0.0.1")
    asking = Resolver(names.ask)
    dialer = Dialer(asking, ssl.create_default_context())
    dial(dialer, servers[0].port)
    names.addresses = ("127.0.0.2",)
    dial(dialer, servers[0].port)
    asking.forget()
    dial(dialer, servers[0].port)
    wait_for(lambda: [server.connections for server in servers] == [2, 1, 0])
    assert names.asked == 2


def test_a_run_that_begins_asks_again(
    make_environment: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = NameServer("127.0.0.1")
    monkeypatch.setattr(resolver, "_ask", names.ask)
    plan = Plan([Phase(name="Idle", duration=60, pause=True)])
    for run in (1, 2):
        resolver.find(HOST, 80)
        node = Node(
            make_environment(Visitor),
            Assignment("run", "local", 0, 1, started_at_s=time.time(), seed=1, eras=(evenly((0,), 0.0),)),
            plan,
            plan.spans,
            lambda _: None,
            clock=RunClock(time.time()),
        )
        node.start()
        assert resolver.known(HOST, 80) is None
        node.finish()
        assert names.asked == run


def test_a_name_that_is_unknown_is_asked_for_again(servers: list[ScriptedServer]) -> None:
    names = NameServer()
    dialer = dialer_of(names)
    for _ in range(2):
        with pytest.raises(RequestFailed, match="host not found"):
            dial(dialer, servers[0].port)
    names.addresses = ("127.0.0.1",)
    dial(dialer, servers[0].port)
    assert names.asked == 3


def test_a_name_server_that_does_not_answer() -> None:
    names = NameServer("127.0.0.1")
    names.may_answer.clear()
    with pytest.raises(RequestFailed, match="timed out: connect"):
        dial(dialer_of(names), 1, limit_s=0.1)
    names.may_answer.set()


def test_what_each_part_of_dialling_took(
    serve_tls: Callable[..., ScriptedServer], servers: list[ScriptedServer]
) -> None:
    names = NameServer("127.0.0.1")
    names.may_answer.clear()
    insecure = ssl.create_default_context()
    insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
    dialer = Dialer(Resolver(names.ask), insecure)
    dialling = gevent.spawn(dial, dialer, servers[0].port)
    wait_for(lambda: names.asked > 0)
    asked_ns = time.perf_counter_ns()
    gevent.sleep(0.02)
    waited_ns = time.perf_counter_ns() - asked_ns
    names.may_answer.set()
    first, second = dialling.get().dialled, dial(dialer, servers[0].port).dialled
    assert first is not None
    assert first.dns_ns is not None
    assert first.dns_ns >= waited_ns > first.connect_ns > 0
    assert second is not None
    assert (second.dns_ns, second.tls_ns) == (None, None)
    secure = dialer.dial(Origin.of("https", HOST, serve_tls().port), time.perf_counter_ns() + 2_000_000_000)
    secure.close()
    assert secure.dialled is not None
    assert secure.dialled.tls_ns is not None
    assert secure.dialled.tls_ns > 0


def test_the_tunnel_is_part_of_connecting(servers: list[ScriptedServer]) -> None:
    relay = ConnectProxy(delay_s=0.02)
    dialer = Dialer(resolver, ssl.create_default_context(), proxy=f"http://127.0.0.1:{relay.port}")
    connection = dialer.dial(
        Origin.of("http", "127.0.0.1", servers[0].port), time.perf_counter_ns() + 2_000_000_000
    )
    connection.close()
    relay.close()
    assert connection.dialled is not None
    assert (connection.dialled.dns_ns, connection.dialled.tls_ns) == (None, None)
    assert connection.dialled.connect_ns >= 10_000_000


def test_names_of_this_machine_work(connect: Callable[..., Client], server: ScriptedServer) -> None:
    server.answer(OK)
    resolver.forget()
    assert connect(f"http://localhost:{server.port}").get("/").content == b"ok"
