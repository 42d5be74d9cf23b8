from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from perfload.monitors.base import MonitorUnavailable
from perfload.monitors.mongodb.connection import reason_in
from perfload.monitors.mongodb.server_commands import (
    CommandFailed,
    CommandRefused,
    CommandUnknown,
    Connection,
    first_batch,
    number_in,
    text_in,
)
from perfload.monitors.reader import reason_of


class Client:
    """Stands for a driver whose every command ends with `error`."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getitem__(self, database: str) -> "Client":
        return self

    def command(self, *_: Any, **__: Any) -> None:
        raise self._error


def failure_of(error: Exception) -> MonitorUnavailable:
    client: Any = Client(error)
    with pytest.raises(MonitorUnavailable) as raised:
        Connection(client, "db:27017").run({"top": 1})
    return raised.value


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (
            OperationFailure("not authorized on admin to execute command { top: 1 }", 13),
            CommandRefused,
            "the user may not do this",
        ),
        (
            OperationFailure("no such command: 'top', full error: {...}", 59),
            CommandUnknown,
            "this server does not support it: no such command: 'top'",
        ),
        (
            OperationFailure("CMD_NOT_ALLOWED: top", 8000),
            CommandUnknown,
            "this server does not support it: CMD_NOT_ALLOWED: top",
        ),
        (
            OperationFailure("bad auth : authentication failed", 8000),
            MonitorUnavailable,
            "MongoDB at db:27017 refused the login; check user, password and authSource in MONGODB_URL",
        ),
        (
            OperationFailure("Authentication failed.", 18),
            MonitorUnavailable,
            "MongoDB at db:27017 refused the login; check user, password and authSource in MONGODB_URL",
        ),
        (
            ExecutionTimeout("operation exceeded time limit", 50),
            CommandFailed,
            "top: operation exceeded time limit",
        ),
        (
            NetworkTimeout("db:27017: timed out (configured timeouts: timeoutMS: 1500.0ms)"),
            MonitorUnavailable,
            "MongoDB at db:27017 does not answer: db:27017: timed out",
        ),
        (
            AutoReconnect("db:27017: connection closed"),
            MonitorUnavailable,
            "the connection to MongoDB at db:27017 failed: db:27017: connection closed",
        ),
        (
            ServerSelectionTimeoutError(
                "db:27017: [Errno 111] Connection refused (configured timeouts: …), Timeout: 1.2s, Topology …"
            ),
            MonitorUnavailable,
            "MongoDB at db:27017 cannot be reached: db:27017: [Errno 111] Connection refused; does it run? "
            "if it is of a set whose names are not known here: directConnection=true",
        ),
        (
            ServerSelectionTimeoutError(
                "db:27017: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
            ),
            MonitorUnavailable,
            "MongoDB at db:27017 cannot be reached: db:27017: [SSL: CERTIFICATE_VERIFY_FAILED] certificate "
            "verify failed; look at tls and tlsCAFile in MONGODB_URL",
        ),
        (
            ServerSelectionTimeoutError("db:27017: connection closed"),
            MonitorUnavailable,
            "MongoDB at db:27017 cannot be reached: db:27017: connection closed; "
            "if it wants TLS, add tls=true to MONGODB_URL",
        ),
        (
            ConfigurationError("The DNS query name does not exist"),
            MonitorUnavailable,
            "the connection to MongoDB at db:27017 is not possible as MONGODB_URL has it: "
            "The DNS query name does not exist",
        ),
    ],
)
def test_what_errors_mean(error: Exception, kind: type, reason: str) -> None:
    failure = failure_of(error)
    assert type(failure) is kind
    assert reason_of(failure) == reason


def test_reasons_are_one_line_and_short() -> None:
    assert len(reason_in(OperationFailure("x\n" * 5000))) == 120
    assert reason_in(OperationFailure("a\n b { insert: 1, documents: [...] }")) == "a b"


def test_answers_of_other_types() -> None:
    assert first_batch({}) == []
    assert first_batch({"cursor": {"firstBatch": [1, {"a": 2}]}}) == [{"a": 2}]
    assert [number_in(value) for value in (True, 3, 2.5, "4", None, float("nan"), float("inf"))] == [
        1.0,
        3.0,
        2.5,
        None,
        None,
        None,
        None,
    ]
    assert text_in("a\n\tb", 10) == "a b"
    assert text_in("\ud800x", 10) == "?x"
    assert text_in("abcdef", 4) == "abc…"
    assert text_in(5, 10) == ""
