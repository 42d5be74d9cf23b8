"""Locust's cluster sockets on loopback: who is let in, what a master survives, and that Locust uses them."""

import contextlib
import gc
import inspect
import itertools
import re
import socket as sockets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import locust.main
import locust.rpc
import msgpack
import psutil
import pytest
import zmq.green as zmq
from gevent.event import Event
from locust import User, __version__, runners
from locust.env import Environment
from locust.exception import RPCError, StopTest
from locust.rpc import Message, zmqrpc

from perfload.cluster_key import VARIABLE, ClusterKey
from perfload.load.cluster import handshake, rpc
from perfload.load.cluster.gate import CHECKS, Gate
from perfload.load.cluster.messages import START, STOP
from tests.load.conftest import wait_for

KEY, OTHER_KEY = ClusterKey.generate(), ClusterKey.generate()
NO_KEY = {
    "it does not have the key of the cluster",
    "it broke off its handshake, as it may without the key of the cluster",
}
"""What is said of a peer without a key: it depends on which end finds that first."""
NOBODY_S = 0.5
"""Nothing that is refused arrives within this time; what is let in does so in a few milliseconds."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, and nobody who has joined."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(rpc, "gate", Gate())


@pytest.fixture
def use_key(monkeypatch: pytest.MonkeyPatch) -> Callable[[ClusterKey | None], None]:
    """Return a function that sets the key of the sockets made from then on."""

    def use(key: ClusterKey | None) -> None:
        monkeypatch.setenv(VARIABLE, key.text if key else "")

    return use


@pytest.fixture
def closing() -> Iterator[Callable[[Any], Any]]:
    """Return a function that has its argument closed after the test."""
    made: list[Any] = []

    def keep(socket: Any) -> Any:
        made.append(socket)
        return socket

    yield keep
    for socket in made:
        socket.close()


class Stranger:
    """A peer that uses neither Locust nor perfload."""

    def __init__(self, port: int, identity: bytes = b"stranger", key: ClusterKey | None = None) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, identity)
        if key is not None:
            handshake.present(self.socket, key)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def say(self, kind: object, data: object, node_id: object) -> None:
        self.socket.send(msgpack.packb((kind, data, node_id)))

    def close(self) -> None:
        self._context.destroy(linger=0)


def received(server: rpc.Server, timeout_s: float = 5.0) -> tuple[str, str, object] | None:
    """Return who said what, or None when nothing that is valid arrives in time."""
    with gevent.Timeout(timeout_s, False):
        client_id, message = server.recv_from_client()
        return client_id, message.type, message.data
    return None


# --- keys


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "a key"])
def test_master_and_worker_with_the_same_key_or_none_speak(
    use_key: Callable[..., None], closing: Callable[..., Any], key: ClusterKey | None
) -> None:
    use_key(key)
    server = closing(rpc.Server("127.0.0.1", 0))
    client = closing(rpc.Client("127.0.0.1", server.port, "w1"))
    client.send(Message("client_ready", __version__, "w1"))
    assert received(server) == ("w1", "client_ready", __version__)
    server.send_to_client(Message("ack", {"index": 0}, "w1"))
    answer = client.recv()
    assert (answer.type, answer.data) == ("ack", {"index": 0})


@pytest.mark.parametrize("key", [None, OTHER_KEY], ids=["no key", "another key"])
def test_a_peer_without_the_key_is_not_let_in(
    use_key: Callable[..., None],
    closing: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    key: ClusterKey | None,
) -> None:
    use_key(KEY)
    server = closing(rpc.Server("127.0.0.1", 0))
    stranger = closing(Stranger(server.port, key=key))
    for _ in range(3):
        stranger.say("client_ready", -1, "stranger")
    assert received(server, NOBODY_S) is None
    reasons = {"it has another key"} if key else NO_KEY
    assert set() < rpc.gate.refused.keys() <= reasons
    assert caplog.messages == [f"refused from 'a connection': {reason}" for reason in rpc.gate.refused]


def test_who_hangs_up_before_the_handshake_is_over_is_told_of_once(
    use_key: Callable[..., None], closing: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    use_key(KEY)
    server = closing(rpc.Server("127.0.0.1", 0))
    receiving = gevent.spawn(received, server)
    for number in range(1, 4):
        with sockets.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03")
        wait_for(lambda number=number: rpc.gate.refused.total() == number)  # type: ignore[misc]
    assert caplog.messages == [
        "refused from 'a connection': it broke off its handshake, as it may without the key of the cluster"
    ]
    client = closing(rpc.Client("127.0.0.1", server.port, "w1"))
    client.send(Message("client_ready", __version__, "w1"))
    assert receiving.get() == ("w1", "client_ready", __version__)
    client.close()  # this one just disconnects
    gevent.sleep(0.05)
    assert rpc.gate.refused.total() == 3


def test_the_master_s_public_key_alone_lets_nobody_in(
    use_key: Callable[..., None], closing: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    use_key(KEY)
    server = closing(rpc.Server("127.0.0.1", 0))
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    public, secret = zmq.curve_keypair()
    socket.setsockopt(zmq.CURVE_SERVERKEY, handshake._pair(KEY, "server")[0])
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    socket.setsockopt(zmq.IDENTITY, b"stranger")
    socket.connect(f"tcp://127.0.0.1:{server.port}")
    socket.send(msgpack.packb(("client_ready", -1, "stranger")))
    assert received(server, NOBODY_S) is None
    assert caplog.messages == ["refused from '127.0.0.1': it has another key"]
    context.destroy(linger=0)


def ready_of(identity: bytes) -> bytes:
    return msgpack.packb(("client_ready", -1, identity.decode()))


GREETINGS = {
    # The protocol before keys: length, flags, identity; then a message.
    "ZMTP 1.0": lambda body: [b"\x02\x00s", bytes([len(body) + 1, 0]) + body],
    # Signature, revision, socket type DEALER; then the identity and a message.
    "ZMTP 2.0": lambda body: [
        b"\xff" + bytes(8) + b"\x7f\x01\x05",
        b"\x00\x01s",
        bytes([0, len(body)]) + body,
    ],
    "HTTP": lambda body: [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", body],
}


@pytest.mark.parametrize("protocol", GREETINGS)
@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "a key"])
def test_older_protocols_are_no_way_around_the_key(
    use_key: Callable[..., None], closing: Callable[..., Any], protocol: str, key: ClusterKey | None
) -> None:
    use_key(key)
    server = closing(rpc.Server("127.0.0.1", 0))
    connection = closing(sockets.create_connection(("127.0.0.1", server.port)))
    with contextlib.suppress(ConnectionError):  # by then it may have been shown the door
        for part in GREETINGS[protocol](ready_of(b"s")):
            connection.sendall(part)
            gevent.sleep(0.05)
    came = received(server, NOBODY_S)
    if key is None and protocol != "HTTP":
        assert came == ("s", "client_ready", -1)  # so this test knows how to speak the old protocols
    else:
        assert came is None


def test_without_its_handler_of_authentication_a_master_lets_nobody_in(
    use_key: Callable[..., None], closing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_key(KEY)
    monkeypatch.setattr(handshake, "_ZAP_ENDPOINT", "inproc://elsewhere")
    server = closing(rpc.Server("127.0.0.1", 0))
    client = closing(rpc.Client("127.0.0.1", server.port, "w1"))
    client.send(Message("client_ready", -1, "w1"))
    assert received(server, NOBODY_S) is None


def test_the_keys_of_master_and_workers_differ() -> None:
    assert handshake._pair(KEY, "server") != handshake._pair(KEY, "client")
    assert handshake._pair(KEY, "server") == handshake._pair(ClusterKey.parse(KEY.text), "server")


@pytest.mark.parametrize(
    "make", [rpc.Server, lambda *where: rpc.Client(*where, "w1")], ids=["master", "worker"]
)
def test_a_key_with_a_typo_ends_the_process_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: Callable[[str, int], Any]
) -> None:
    monkeypatch.setenv(VARIABLE, KEY.text[:-1])
    with pytest.raises(SystemExit) as ended:
        make("127.0.0.1", 1)
    assert ended.value.code == 2
    assert f"{VARIABLE} has a typo" in caplog.text
    assert KEY.text[5:15] not in caplog.text


def test_the_key_may_stand_in_the_env_file(tmp_path: Path, closing: Callable[..., Any]) -> None:
    (tmp_path / ".env.performance").write_text(f"{VARIABLE}={KEY.text}\n")
    server = closing(rpc.Server("127.0.0.1", 0))
    stranger = closing(Stranger(server.port))
    stranger.say("client_ready", -1, "stranger")
    assert received(server, NOBODY_S) is None
    worker = closing(rpc.Client("127.0.0.1", server.port, "w1"))
    worker.send(Message("client_ready", -1, "w1"))
    assert received(server) == ("w1", "client_ready", -1)


# --- names


def test_without_a_key_nobody_takes_over_the_name_of_a_live_worker(closing: Callable[..., Any]) -> None:
    server = closing(rpc.Server("127.0.0.1", 0))
    worker = closing(rpc.Client("127.0.0.1", server.port, "w1"))
    worker.send(Message("client_ready", -1, "w1"))
    assert received(server) == ("w1", "client_ready", -1)
    thief = closing(Stranger(server.port, b"w1"))
    for _ in range(3):
        thief.say("quit", None, "w1")
    assert received(server, NOBODY_S) is None
    server.send_to_client(Message("ack", {}, "w1"))
    assert worker.recv().type == "ack"


def test_with_a_key_a_worker_takes_its_own_name_over(
    use_key: Callable[..., None], closing: Callable[..., Any]
) -> None:
    use_key(KEY)
    server = closing(rpc.Server("127.0.0.1", 0))
    before = closing(rpc.Client("127.0.0.1", server.port, "w1"))
    before.send(Message("client_ready", -1, "w1"))
    assert received(server) == ("w1", "client_ready", -1)
    again = closing(rpc.Client("127.0.0.1", server.port, "w1"))  # while the master knows of no break
    again.send(Message("client_ready", -1, "w1"))
    assert received(server) == ("w1", "client_ready", -1)
    server.send_to_client(Message("ack", {}, "w1"))
    assert again.recv().type == "ack"


def test_locust_s_orders_to_spawn_users_reach_a_worker_only_while_it_has_a_part(
    closing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "orders", rpc.Orders())
    monkeypatch.setattr(rpc, "ready", Event())
    rpc.ready.set()
    server = closing(rpc.Server("127.0.0.1", 0))

    def connect() -> Any:
        worker = closing(rpc.Client("127.0.0.1", server.port, "w1"))
        worker.send(Message("client_ready", -1, "w1"))
        assert received(server) == ("w1", "client_ready", -1)
        return worker

    def heard(worker: Any, *kinds: str) -> list[str]:
        for kind in (*kinds, "heartbeat"):
            server.send_to_client(Message(kind, {}, "w1"))
        return list(iter(lambda: worker.recv().type, "heartbeat"))

    worker = connect()
    assert heard(worker, "spawn", "stop") == ["stop"]
    assert heard(worker, START, "spawn") == [START, "spawn"]
    worker.close()
    wait_for(lambda: server.socket.getsockopt(zmq.EVENTS) is not None)
    gevent.sleep(0.1)  # until the name is free
    worker = connect()  # as Locust makes a new one when a connection breaks
    assert heard(worker, "spawn") == ["spawn"]
    assert heard(worker, STOP, "spawn", "spawn") == [STOP]
    rpc.orders.admit(START)
    rpc.orders.forget()
    assert heard(worker, "spawn") == []


class Way:
    """A network between worker and master that can fall silent without a word to either."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._passing: list[gevent.Greenlet] = []
        self._ends: list[sockets.socket] = []
        self._is_cut = False
        self.listener = sockets.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._accepting = gevent.spawn(self._accept)

    def _accept(self) -> None:
        while True:
            near, _ = self.listener.accept()
            if self._is_cut:
                near.close()
                continue
            far = sockets.create_connection(("127.0.0.1", self._port))
            self._ends += (near, far)
            self._passing += (gevent.spawn(self._pass, near, far), gevent.spawn(self._pass, far, near))

    def _pass(self, one: sockets.socket, other: sockets.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
            other.shutdown(sockets.SHUT_WR)

    def cut(self) -> None:
        gevent.killall(self._passing)
        self._is_cut = True

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        gevent.killall([self._accepting, *self._passing])
        for end in (self.listener, *self._ends):
            end.close()


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "a key"])
def test_a_worker_comes_back_when_its_connection_fell_silent(
    monkeypatch: pytest.MonkeyPatch,
    use_key: Callable[..., None],
    closing: Callable[..., Any],
    key: ClusterKey | None,
) -> None:
    """Without a key only because the master gives the old connection up first: the name is free by then."""
    monkeypatch.setattr(rpc, "PING_MS", rpc.PING_MS // 10)
    monkeypatch.setattr(rpc, "MASTER_SILENCE_MS", rpc.MASTER_SILENCE_MS // 10)
    monkeypatch.setattr(rpc, "SILENCE_MS", rpc.SILENCE_MS // 10)
    use_key(key)
    server = closing(rpc.Server("127.0.0.1", 0))
    way = closing(Way(server.port))
    worker = closing(rpc.Client("127.0.0.1", way.port, "w1"))
    worker.send(Message("client_ready", -1, "w1"))
    assert received(server) == ("w1", "client_ready", -1)
    way.cut()
    assert received(server, (rpc.PING_MS + rpc.SILENCE_MS) / 1000) is None
    way.mend()
    inbox = gevent.spawn(received, server)
    while not inbox.ready():  # what was sent into the silence is lost, and sent again
        worker.send(Message("perfload_batch", {"number": 1}, "w1"))
        gevent.sleep(0.1)
    assert inbox.get() == ("w1", "perfload_batch", {"number": 1})


# --- what a master survives


def test_what_is_refused_does_not_hide_what_is_not(closing: Callable[..., Any]) -> None:
    server = closing(rpc.Server("127.0.0.1", 0))
    stranger = closing(Stranger(server.port))
    for body in (b"", b"\xc1", b"x" * 100_000, msgpack.packb(("quit", None, "w1")), msgpack.packb([1, 2])):
        stranger.socket.send(body)
    stranger.socket.send_multipart([b"a", b"b", b"c"])
    stranger.say("client_ready", -1, "stranger")
    assert received(server) == ("stranger", "client_ready", -1)
    assert rpc.gate.refused.total() == 6


def test_a_message_that_is_too_long_ends_its_connection_only(closing: Callable[..., Any]) -> None:
    server = closing(rpc.Server("127.0.0.1", 0))
    worker = closing(rpc.Client("127.0.0.1", server.port, "w1"))
    worker.send(Message("client_ready", -1, "w1"))
    assert received(server) == ("w1", "client_ready", -1)
    stranger = closing(Stranger(server.port))
    stranger.socket.send(bytes(rpc.MAX_MESSAGE_BYTES + 1))
    assert received(server, NOBODY_S) is None
    assert rpc.gate.refused == {}  # it did not get as far as that
    longest = {"x": "x" * (rpc.MAX_MESSAGE_BYTES - 100)}
    worker.send(Message("perfload_batch", longest, "w1"))
    assert received(server) == ("w1", "perfload_batch", longest)


def test_a_flood_of_what_is_refused_lets_others_run(closing: Callable[..., Any]) -> None:
    server = closing(rpc.Server("127.0.0.1", 0))
    stranger = closing(Stranger(server.port))
    for _ in range(500):
        stranger.socket.send(b"\xc1")
    gevent.sleep(0.2)  # until all are there: whoever has to wait for the next one lets others run
    ran_between = []

    def count() -> None:
        while True:
            ran_between.append(rpc.gate.refused.total())
            gevent.sleep(0)

    counter = gevent.spawn(count)
    listener = gevent.spawn(server.recv_from_client)
    wait_for(lambda: rpc.gate.refused.total() == 500)
    counter.kill()
    listener.kill()
    steps = [after - before for before, after in itertools.pairwise(ran_between)]
    assert max(steps) <= 5


def test_a_socket_that_is_closed_is_an_error_of_the_connection(closing: Callable[..., Any]) -> None:
    server = rpc.Server("127.0.0.1", 0)
    listener = gevent.spawn(server.recv_from_client)
    gevent.sleep(0)
    server.close(linger=0)
    with pytest.raises(RPCError):
        listener.get(timeout=5)


def test_a_busy_port_is_named_as_locust_knows_it(closing: Callable[..., Any]) -> None:
    server = closing(rpc.Server("127.0.0.1", 0))
    with pytest.raises(RPCError) as error:
        rpc.Server("127.0.0.1", server.port)
    assert error.value.args[0] == "Socket bind failure: Address already in use"


def handshake_greenlets() -> int:
    """Count the greenlets of `handshake` that are alive."""
    alive = [held for held in gc.get_objects() if isinstance(held, gevent.Greenlet) and not held.dead]
    return sum(getattr(held._run, "__module__", "") == handshake.__name__ for held in alive)


def test_what_belongs_to_a_socket_ends_with_it(use_key: Callable[..., None]) -> None:
    """Locust makes a new socket whenever a connection breaks."""
    use_key(KEY)

    def come_and_go() -> None:
        server = rpc.Server("127.0.0.1", 0)
        client = rpc.Client("127.0.0.1", server.port, "w1")
        client.send(Message("client_ready", -1, "w1"))
        assert received(server) == ("w1", "client_ready", -1)
        assert handshake_greenlets() == greenlets + 3
        client.close()
        server.close(linger=0)
        assert server.socket.context.closed
        wait_for(lambda: handshake_greenlets() == greenlets)

    greenlets = handshake_greenlets()
    come_and_go()
    files = psutil.Process().num_fds()
    for _ in range(10):
        come_and_go()
    assert psutil.Process().num_fds() == files


# --- Locust's master


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    rpc.install()

    class Visitor(User):
        pass

    runner = Environment(user_classes=[Visitor]).create_master_runner("127.0.0.1", 0)
    yield runner
    runner.quit()
    runner.server.close()


def test_the_listener_of_locust_s_master_survives_what_fails_when_it_is_handled(
    master: Any, closing: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise AssertionError("\x1b[2Jit broke")

    monkey = pytest.MonkeyPatch()
    monkey.setattr(master.environment.events.worker_report, "fire", fail)
    worker = closing(Stranger(master.server.port, b"w1"))
    worker.say("client_ready", -1, "w1")
    entry = {"name": "", "method": ""}
    report = {"stats": [], "stats_total": entry, "errors": {}, "user_classes_count": {}, "user_count": 0}
    for _ in range(2):
        worker.say("stats", report, "w1")
    worker.say("logs", {"worker_id": "w1", "logs": ["alive"]}, "w1")
    wait_for(lambda: master.environment.worker_logs == {"w1": ["alive"]})
    assert rpc.gate.refused == {"its stats could not be handled": 2}
    (said,) = [line for line in caplog.messages if line.startswith("refused")]
    assert "it broke" in said
    assert "\x1b" not in said
    monkey.undo()


def test_a_test_that_is_stopped_by_its_own_code_stops(master: Any) -> None:
    def stop(**_: Any) -> None:
        raise StopTest("enough")

    master.environment.events.worker_connect.add_listener(stop)
    with pytest.raises(StopTest):
        master.handle_message("w1", Message("client_ready", -1, "w1"))


def test_only_registered_messages_reach_locust(
    master: Any, closing: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    heard = []
    master.register_message("mine", lambda msg, **_: heard.append(msg.data))
    peer = closing(Stranger(master.server.port, b"w1"))
    for kind in ("ours", "perfload_ours", "mine"):
        peer.say(kind, {"n": 1}, "w1")
    wait_for(lambda: heard == [{"n": 1}])
    assert rpc.gate.refused == {"nobody here has registered its type": 2}
    assert "Unknown message type" not in caplog.text


def test_who_has_joined_is_still_known_after_a_new_connection(
    monkeypatch: pytest.MonkeyPatch, master: Any, closing: Callable[..., Any]
) -> None:
    monkeypatch.setattr(runners, "FALLBACK_INTERVAL", 0.01)
    peer = closing(Stranger(master.server.port, b"w1"))
    peer.say("client_ready", -1, "w1")
    wait_for(lambda: "w1" in master.clients)
    master.master_bind_port = master.server.port
    master.reset_connection()
    assert not master.connection_broken
    peer.say("logs", {"worker_id": "w1", "logs": ["still here"]}, "w1")
    wait_for(lambda: master.environment.worker_logs == {"w1": ["still here"]})


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "::"])
def test_a_master_without_a_key_ends_before_it_listens_elsewhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    rpc.install()
    monkeypatch.setattr(rpc, "Server", lambda *_: pytest.fail("it was about to listen"))
    with pytest.raises(SystemExit) as ended:
        Environment(user_classes=[]).create_master_runner(host, 0)
    assert ended.value.code == 2
    assert f"may not listen on {host}" in caplog.text


# --- what this relies on in Locust


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_locust_is_still_what_this_was_written_for() -> None:
    """When this fails, a new Locust has moved something that `rpc` or `gate` builds on: look at both."""
    rpc.install()
    assert runners.rpc is rpc, "locust.runners no longer takes its sockets from `rpc`"
    assert locust.rpc.rpc is zmqrpc
    assert parameters(zmqrpc.BaseSocket.__init__) == ["self", "sock_type", "ipv4_only"]
    assert parameters(zmqrpc.BaseSocket.ipv4_only) == ["self", "host", "port"]
    for ours, locusts in ((rpc.Server, zmqrpc.Server), (rpc.Client, zmqrpc.Client)):
        assert parameters(ours.__init__) == parameters(locusts.__init__)
        assert parameters(ours.close) == parameters(locusts.close) == ["self", "linger"]
        assert parameters(ours.recv_from_client) == parameters(locusts.recv_from_client) == ["self"]
    assert "self.socket = context.socket(sock_type)" in inspect.getsource(zmqrpc.BaseSocket.__init__)

    runner = runners.MasterRunner
    assert parameters(runner.__init__) == ["self", "environment", "master_bind_host", "master_bind_port"]
    source = inspect.getsource(runner.__init__)
    assert "rpc.Server(master_bind_host, master_bind_port)" in source
    assert '"Socket bind failure: Address already in use"' in source
    source = inspect.getsource(runner.client_listener)
    assert source.count("self.server.recv_from_client()") == 1
    assert source.count("self.handle_message(client_id, msg)") == 1
    source = inspect.getsource(inspect.unwrap(runner.handle_message))
    assert set(re.findall(r'case "(\w+)"', source)) == CHECKS.keys(), "messages that `gate` does not check"
    assert "self.custom_messages.get(msg.type)" in source
    create = Environment.create_master_runner
    assert parameters(create) == parameters(inspect.unwrap(create))
    assert "environment.create_master_runner(" in inspect.getsource(locust.main.main)
    source = inspect.getsource(runners.WorkerRunner.__init__)
    assert "rpc.Client(master_host, master_port, self.client_id)" in source
