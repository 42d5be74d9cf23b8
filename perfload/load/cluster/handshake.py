"""CurveZMQ between master and workers: who may connect, and what is said when somebody may not.

All keys are derived from the one secret of the cluster. Whoever does not have it has neither the master's
public key, without which no handshake begins, nor the workers' key, without which none ends well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from perfload.cluster_key import VARIABLE, ClusterKey

logger = logging.getLogger("perfload")

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_DOMAIN = b"perfload"
_MONITOR_ENDPOINT = "inproc://perfload.handshakes"

_REFUSALS = {
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: "it does not have the key of the cluster",
    zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: "it has another key",
}
_BROKEN_OFF = "it broke off its handshake, as it may without the key of the cluster"
"""Both ends find that their mechanisms differ. If the other one is quicker and hangs up, this is all we see:
what we would also see of a worker that is killed just then, or of somebody who looks which ports are open."""

FAILURES_IN_A_ROW = 5
"""After so many a worker complains: one alone may be a master that is just ending."""
TRY_AGAIN_S = 1.0


def _pair(key: ClusterKey, owner: str) -> tuple[bytes, bytes]:
    """Return the public and the secret CURVE key of `owner`, in Z85."""
    secret = z85.encode(key.derive(f"curve {owner}"))
    return zmq.curve_public(secret), secret


def lock(socket: Any, key: ClusterKey, refuse: Callable[[str, str], None]) -> None:
    """Let only those in who know `key`; to be called before `socket`, a master's, is bound.

    `refuse` is told who was refused, and why. What this starts ends with the context of `socket`, which must
    be its own: a context has one handler of authentication.
    """
    public, secret = _pair(key, "server")
    allowed, _ = _pair(key, "client")
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    # Without these two, everybody would be let in if the handler were missing.
    socket.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    handler = socket.context.socket(zmq.REP)
    handler.bind(_ZAP_ENDPOINT)
    gevent.spawn(_authenticate, handler, z85.decode(allowed), refuse)
    events = _watch(socket, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
    gevent.spawn(_tell_refusals, events, refuse)


def present(socket: Any, key: ClusterKey) -> None:
    """Talk to a master that knows `key`, and to no other; to be called before `socket` connects."""
    public, secret = _pair(key, "client")
    socket.setsockopt(zmq.CURVE_SERVERKEY, _pair(key, "server")[0])
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)


def watch_master(socket: Any, endpoint: str) -> None:
    """Say once when the master at `endpoint` does not let this worker in: Locust tries on in silence."""
    failed = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    failed |= zmq.EVENT_HANDSHAKE_FAILED_AUTH
    events = _watch(socket, failed | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    gevent.spawn(_tell_failures, socket, endpoint, events)


def _authenticate(handler: Any, allowed: bytes, refuse: Callable[[str, str], None]) -> None:
    """Answer libzmq's questions whom to let in (ZAP, ZeroMQ RFC 27) until the context ends."""
    while True:
        try:
            version, number, _domain, address, _name, mechanism, *credentials = handler.recv_multipart()
            is_allowed = mechanism == b"CURVE" and credentials == [allowed]
            status = [b"200", b"OK"] if is_allowed else [b"400", b"refused"]
            handler.send_multipart([version, number, *status, b"", b""])
        except zmq.ZMQError:
            return
        if not is_allowed:
            refuse(address.decode(errors="backslashreplace"), "it has another key")


def _watch(socket: Any, events: int) -> Iterator[dict[str, Any]]:
    """Return the `events` of `socket` as they come; they end with its context."""
    socket.monitor(_MONITOR_ENDPOINT, events)
    monitor = socket.context.socket(zmq.PAIR)
    # Without a limit: at one, libzmq's own thread, which carries all messages, would wait for us.
    monitor.setsockopt(zmq.RCVHWM, 0)
    monitor.connect(_MONITOR_ENDPOINT)
    return _receive(monitor)


def _receive(monitor: Any) -> Iterator[dict[str, Any]]:
    while True:
        try:
            frames = monitor.recv_multipart()
        except zmq.ZMQError:
            return
        yield dict(parse_monitor_message(frames))


def _tell_refusals(events: Iterator[dict[str, Any]], refuse: Callable[[str, str], None]) -> None:
    for event in events:
        if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            refuse("a connection", _BROKEN_OFF)
        else:
            refuse("a connection", _REFUSALS.get(event["value"], "its handshake is wrong"))


def _tell_failures(socket: Any, endpoint: str, events: Iterator[dict[str, Any]]) -> None:
    failures, told = 0, False
    for event in events:
        if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            failures = 0
            continue
        is_final = event["event"] != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        failures += FAILURES_IN_A_ROW if is_final else 1
        if failures >= FAILURES_IN_A_ROW and not told:
            told = True
            logger.error(
                "the master at %s refuses this worker, as it does when their keys differ\n"
                "  set the same %s on master and workers; perfload cluster keygen makes one",
                endpoint,
                VARIABLE,
            )
        if is_final and not _connect_again(socket, endpoint):
            return


def _connect_again(socket: Any, endpoint: str) -> bool:
    """Do what libzmq does itself after other failures; False when the socket has been closed meanwhile."""
    gevent.sleep(TRY_AGAIN_S)
    try:
        socket.disconnect(endpoint)
        socket.connect(endpoint)
    except zmq.ZMQError:
        return False
    return True
