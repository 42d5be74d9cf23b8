"""What a peer may say to the master: which messages reach Locust, and what happens when it gets them."""

import datetime
import logging
from collections.abc import Iterator
from typing import Any

import locust.log
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust import User, __version__, stats
from locust.env import Environment
from locust.rpc import Message
from locust.rpc.protocol import encode

from perfload.load.cluster.gate import CHECKS, MAX_PEERS, MAX_STRANGER_BYTES, Gate

WORKER = "host_0123456789abcdef"


def frames(kind: object, data: object, node_id: object = WORKER, peer: str | None = None) -> list[bytes]:
    body = msgpack.packb((kind, data, node_id), default=encode)
    return [(str(node_id) if peer is None else peer).encode(), body]


def admit(gate: Gate, sent: list[bytes], *, hands_out_files: bool = True) -> Message | None:
    return gate.admit(sent, hands_out_files=hands_out_files)


@pytest.fixture
def gate() -> Gate:
    """One that `WORKER` has joined."""
    made = Gate()
    assert admit(made, frames("client_ready", __version__)) is not None
    return made


def statistics() -> dict[str, Any]:
    """Return what a worker reports of a request that succeeded, one without an answer, and a failure."""
    requests = stats.RequestStats()
    requests.log_request("GET", "/a", 147.3, 1_000)
    requests.log_request("GET", "/a", None, 0)
    requests.log_error("GET", "/a", ValueError("no"))
    return {
        "stats": requests.serialize_stats(),
        "stats_total": requests.total.get_stripped_report(),
        "errors": requests.serialize_errors(),
        "user_classes_count": {"Visitor": 3},
        "user_count": 3,
        "of_a_listener": [1, None, {"any": "thing"}],
    }


HEARTBEAT = {"state": "running", "current_cpu_usage": 12.5, "current_memory_usage": 1_000_000}

SAID: dict[str, object] = {
    "client_ready": __version__,
    "locustfile": {"version": __version__},
    "heartbeat": HEARTBEAT,
    "stats": statistics(),
    "spawning": None,
    "spawning_complete": {"user_classes_count": {"Visitor": 3}, "user_count": 3},
    "exception": {"msg": "no", "traceback": "  File ...\n"},
    "logs": {"worker_id": WORKER, "logs": ["a line", "\x1b[31mred"]},
    "client_stopped": None,
    "quit": None,
    "perfload_batch": {"number": 1},
    "mine": ["what", "a", "scenario", "sends"],
    "when": datetime.datetime(2026, 1, 2, 3, 4, 5),
}


@pytest.mark.parametrize("kind", SAID)
def test_what_a_worker_says_is_let_through_as_it_is(gate: Gate, kind: str) -> None:
    message = admit(gate, frames(kind, SAID[kind]))
    assert message is not None
    assert (message.type, message.data, message.node_id) == (kind, SAID[kind], WORKER)
    assert gate.refused == {}


def test_every_message_of_locust_has_its_check() -> None:
    assert CHECKS.keys() <= SAID.keys()


TOTAL = statistics()["stats_total"]

REFUSED: list[tuple[str, list[bytes], str]] = [
    ("nothing", [WORKER.encode()], "it is no message of Locust's"),
    ("empty", [WORKER.encode(), b""], "it is no message of Locust's"),
    ("a frame too many", [*frames("quit", None), b""], "it is no message of Locust's"),
    ("no msgpack", [WORKER.encode(), b"\xc1"], "it is no message of Locust's"),
    ("cut off", [WORKER.encode(), frames("heartbeat", HEARTBEAT)[1][:-5]], "it is no message of Locust's"),
    ("more after it", [WORKER.encode(), frames("quit", None)[1] * 2], "it is no message of Locust's"),
    ("a number", [WORKER.encode(), msgpack.packb(7)], "it is no message of Locust's"),
    ("two fields", [WORKER.encode(), msgpack.packb(("quit", None))], "it is no message of Locust's"),
    (
        "four fields",
        [WORKER.encode(), msgpack.packb(("quit", None, WORKER, 1))],
        "it is no message of Locust's",
    ),
    ("a list as a key", [WORKER.encode(), b"\x93\xa4quit\x81\x90\x01\xa1w"], "it is no message of Locust's"),
    ("deeply nested", [WORKER.encode(), b"\x91" * 60_000 + b"\xc0"], "it is no message of Locust's"),
    ("no date", frames("quit", {"__datetime__": True, "as_str": 7}), "it is no message of Locust's"),
    ("a type that is none", frames(["quit"], None), "it is no message of Locust's"),
    ("a type for the terminal", frames("\x1b[2J", None), "it is no message of Locust's"),
    ("not UTF-8", [b"\xff\xfe", frames("quit", None)[1]], "its sender has no proper name"),
    ("no name", [b"\x00\x01\x02\x03\x04", frames("quit", None)[1]], "its sender has no proper name"),
    ("a name for the terminal", frames("client_ready", -1, "\x1b]0;x\x07"), "its sender has no proper name"),
    ("quits another", frames("quit", None, "other", peer=WORKER), "it is in another's name"),
    ("batch of another", frames("perfload_batch", {}, "other", peer=WORKER), "it is in another's name"),
    ("no name inside", frames("quit", None, None, peer=WORKER), "it is in another's name"),
    ("logs of another", frames("logs", {"worker_id": "other", "logs": []}), "it is in another's name"),
    ("not joined", frames("heartbeat", HEARTBEAT, "new"), "its sender has not joined"),
    ("not joined, stats", frames("stats", statistics(), "new"), "its sender has not joined"),
    (
        "long and not joined",
        frames("perfload_batch", {"x": "x" * MAX_STRANGER_BYTES}, "new"),
        "it is too long for a peer that has not joined",
    ),
    ("perfload's own without data", frames("perfload_batch", [1]), "it holds no data"),
]


@pytest.mark.parametrize(
    ("sent", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_is_refused_is_counted_by_reason(gate: Gate, sent: list[bytes], reason: str) -> None:
    assert admit(gate, sent) is None
    assert gate.refused == {reason: 1}


NAN = float("nan")

BAD_DATA: dict[str, list[object]] = {
    "client_ready": [None, "", 7, True, [], "x" * 300, "2.47\x1b[2J", b"2.47"],
    "client_stopped": [{}, "now"],
    "exception": [
        None,
        {},
        {"msg": "x"},
        {"msg": 1, "traceback": ""},
        {"msg": "x" * 1_000_001, "traceback": ""},
    ],
    "heartbeat": [
        None,
        [],
        {},
        HEARTBEAT | {"state": "elsewhere"},
        HEARTBEAT | {"state": ["running"]},
        HEARTBEAT | {"current_cpu_usage": "90"},
        HEARTBEAT | {"current_cpu_usage": NAN},
        HEARTBEAT | {"current_cpu_usage": True},
        HEARTBEAT | {"current_memory_usage": None},
    ],
    "locustfile": [None, {}, {"version": None}, {"version": ""}, {"version": ["2.47"]}],
    "logs": [
        None,
        {"worker_id": WORKER},
        {"worker_id": WORKER, "logs": "x"},
        {"worker_id": WORKER, "logs": [1]},
    ],
    "quit": [{}, "now"],
    "spawning": [{}, 1],
    "spawning_complete": [
        None,
        {"user_count": 1},
        {"user_classes_count": {"A": -1}, "user_count": 1},
        {"user_classes_count": {"A": 1.5}, "user_count": 1},
        {"user_classes_count": {1: 1}, "user_count": 1},
        {"user_classes_count": [("A", 1)], "user_count": 1},
        {"user_classes_count": {"A": 1}, "user_count": None},
    ],
    "stats": [
        None,
        {},
        *({**statistics(), key: None} for key in ("stats", "stats_total", "errors", "user_classes_count")),
        *(
            {**statistics(), "stats": [held]}
            for held in (None, {}, {"name": "x"}, {"name": 1, "method": "GET"})
        ),
        *(
            {**statistics(), "stats_total": TOTAL | {name: held}}
            for name, bad in {
                "num_requests": (None, -1, 1.5, "1", True),
                "num_none_requests": (None,),
                "num_failures": (None,),
                "start_time": (None, "x", NAN, float("inf")),
                "total_response_time": (None, "x", NAN),
                "max_response_time": (None, []),
                "min_response_time": ("x",),
                "last_request_timestamp": ("x", float("inf")),
                "total_content_length": (None, "x"),
                "response_times": (None, [], {"x": 1}, {1: None}, {1: -1}, {NAN: 1}),
                "num_reqs_per_sec": (None, {1.5: 1}, {1: "x"}),
                "num_fail_per_sec": (None, {"x": 1}),
            }.items()
            for held in bad
        ),
        *(
            {**statistics(), "errors": held}
            for held in ({1: {}}, {"k": None}, {"k": {"method": "GET", "name": "/", "error": "x"}})
        ),
        {**statistics(), "errors": {"k": {"method": "", "name": "", "error": "", "occurrences": "x"}}},
        {
            **statistics(),
            "errors": {"k": {"method": "", "name": "", "error": "", "occurrences": 1, "first_seen": "x"}},
        },
    ],
}


def test_there_is_bad_data_for_every_check() -> None:
    assert BAD_DATA.keys() == CHECKS.keys()


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, bad in BAD_DATA.items() for data in bad])
def test_data_that_locust_would_trip_over_is_refused(gate: Gate, kind: str, data: object) -> None:
    assert admit(gate, frames(kind, data)) is None
    assert gate.refused == {f"its data is not that of {kind}": 1}


def test_the_scenario_is_handed_out_only_where_that_was_decided(gate: Gate) -> None:
    ask = frames("locustfile", {"version": __version__}, "new")
    assert admit(gate, ask, hands_out_files=True) is not None
    assert admit(gate, ask, hands_out_files=False) is None
    assert [reason for reason in gate.refused if reason.startswith("it asks for the scenario")]


def test_who_has_quit_has_to_join_again(gate: Gate) -> None:
    assert admit(gate, frames("quit", None)) is not None
    assert admit(gate, frames("heartbeat", HEARTBEAT)) is None
    assert admit(gate, frames("client_ready", -1)) is not None
    assert admit(gate, frames("heartbeat", HEARTBEAT)) is not None


# --- what is said about it


def test_a_peer_is_named_once_for_a_reason(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        admit(gate, frames("quit", None, "other", peer=WORKER))
        admit(gate, [WORKER.encode(), b""])
    assert [record.getMessage() for record in caplog.records] == [
        f"refused from '{WORKER}': it is in another's name",
        f"refused from '{WORKER}': it is no message of Locust's",
    ]
    assert gate.refused.total() == 6


def test_many_peers_fill_neither_the_log_nor_the_memory(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10 * MAX_PEERS):
        admit(gate, frames("heartbeat", HEARTBEAT, f"stranger-{number}"))
    assert len(caplog.records) == MAX_PEERS
    assert caplog.records[-1].getMessage().endswith("(of further peers it is only counted)")
    assert gate.refused["its sender has not joined"] == 10 * MAX_PEERS
    assert sum(map(len, gate._named.values())) == MAX_PEERS
    admit(gate, frames("quit", None, "other", peer=WORKER))  # another reason is still said
    assert caplog.records[-1].getMessage() == f"refused from '{WORKER}': it is in another's name"


@pytest.mark.parametrize("peer", [b"\x1b[2J\x07", b"\xff\xfe", "\u202egpj.exe".encode(), b"x" * 255, b"a\nb"])
def test_what_peers_call_themselves_does_not_reach_the_terminal_raw(
    gate: Gate, caplog: pytest.LogCaptureFixture, peer: bytes
) -> None:
    gate.admit([peer, b""], hands_out_files=False)
    gate.refuse(peer.decode(errors="backslashreplace"), "it failed", "\x1b]0;title\x07 \n" * 100)
    for record in caplog.records:
        assert record.getMessage().isascii()
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 500


# --- and Locust, when it gets what was let through


@pytest.fixture(scope="module")
def master() -> Iterator[Any]:
    """A real master, whose statistics listen to what workers report."""

    class Visitor(User):
        pass

    environment = Environment(user_classes=[Visitor])
    runner = environment.create_master_runner("127.0.0.1", 0)
    yield runner
    runner.quit()
    runner.server.close()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from([WORKER, "ready", "running", "missing", "/a", "GET", __version__]),
    lambda held: (
        st.lists(held, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 99) | st.floats(), held, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def nearly_right(draw: st.DrawFn) -> list[bytes]:
    """Return a message of Locust's in which a few values, anywhere, are others."""
    kind = draw(st.sampled_from(sorted(CHECKS)))
    data: Any = SAID[kind]
    for _ in range(draw(st.integers(0, 2))):
        data = changed(draw, data)
    return frames(kind, data)


def changed(draw: st.DrawFn, data: Any) -> Any:
    if isinstance(data, dict) and data and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(list(data)))
        if not draw(st.integers(0, 5)):
            return {name: held for name, held in data.items() if name != key}
        return data | {key: changed(draw, data[key])}
    if isinstance(data, list) and data and draw(st.integers(0, 5)):
        return [changed(draw, data[0]), *data[1:]]
    return draw(values)


@given(sent=nearly_right())
def test_locust_does_not_trip_over_what_is_let_through(master: Any, sent: list[bytes]) -> None:
    gate = Gate()
    handle(master, admit(gate, frames("client_ready", -1)))
    message = admit(gate, sent)
    locust.log.unhandled_greenlet_exception = False
    if message is not None and message.type != "locustfile":
        handle(master, message)
    # The master's tables, and its web page.
    stats.get_stats_summary(master.stats)
    stats.get_percentile_stats_summary(master.stats)
    stats.get_error_report_summary(master.stats)
    assert not locust.log.unhandled_greenlet_exception


def handle(master: Any, message: Message | None) -> None:
    assert message is not None
    locusts_own = getattr(master.handle_message, "__wrapped__", None)
    if locusts_own is None:
        master.handle_message(WORKER, message)
    else:
        locusts_own(master, WORKER, message)


@given(sent=st.lists(st.binary(max_size=300), min_size=1, max_size=3))
def test_bytes_are_no_message(sent: list[bytes]) -> None:
    assert admit(Gate(), sent) is None


@given(fields=st.tuples(values, values, values) | values, peer=st.binary(min_size=1, max_size=20))
def test_values_are_no_message_unless_a_handler_knows_them(fields: object, peer: bytes) -> None:
    message = admit(Gate(), [peer, msgpack.packb(fields)])
    if message is not None:
        assert message.node_id == peer.decode()
        assert message.type not in CHECKS or message.type == "client_ready"


def test_refusals_are_warnings(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    admit(gate, [WORKER.encode(), b""])
    assert [(record.name, record.levelno) for record in caplog.records] == [("perfload", logging.WARNING)]
