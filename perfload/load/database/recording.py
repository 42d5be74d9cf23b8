"""One operation, timed from the call to the last document, and told to whoever records requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gevent import GreenletExit

from perfload.load.database.failures import CUT_OFF, OperationFailed, StepFailed, reason_of

REQUEST_TYPE = "MONGODB"

T = TypeVar("T")
RecordMetric = Callable[[str, float, str], None]


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What an operation came to."""

    value: T
    documents: int
    """Read or written."""
    size_bytes: int = 0
    """Of the documents read."""


class OperationRecorder:
    """Times operations. `event` is Locust's request event, `record` takes the metrics beside it."""

    def __init__(self, event: Any, record: RecordMetric) -> None:
        self._event = event
        self._record = record

    def run(self, name: str, operation: Callable[[], Answer[T]]) -> T:
        """Return the value that `operation` answers; raises `StepFailed` once a failure is recorded.

        Any exception that is not of pymongo passes as it is: a mistake in the scenario is no failed request.
        """
        from pymongo.errors import PyMongoError

        from perfload.load.database import meter

        began_s = time.time()
        parts = meter.begin()
        began_ns = time.perf_counter_ns()
        try:
            answer = operation()
        except PyMongoError as error:
            self._tell(name, began_s, began_ns, parts, failure=OperationFailed(reason_of(error)))
            raise StepFailed from error
        except GreenletExit:
            self._tell(name, began_s, began_ns, parts, failure=OperationFailed(CUT_OFF))
            raise
        finally:
            meter.end()
        self._tell(name, began_s, began_ns, parts, answer=answer)
        return answer.value

    def _tell(
        self,
        name: str,
        began_s: float,
        began_ns: int,
        parts: Any,
        *,
        answer: Answer[Any] | None = None,
        failure: OperationFailed | None = None,
    ) -> None:
        self._event.fire(
            request_type=REQUEST_TYPE,
            name=name,
            response_time=(time.perf_counter_ns() - began_ns) / 1e6,
            response_length=answer.size_bytes if answer else 0,
            exception=failure,
            start_time=began_s,
            response=None,
            context={},
            url=None,
        )
        self._record("pool_wait", parts.pool_wait_us / 1000, "ms")
        self._record("server_time", parts.server_us / 1000, "ms")
        if answer is not None:
            self._record("documents", answer.documents, "documents")
