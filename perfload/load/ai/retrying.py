"""Whether a request that came to nothing may be made again, and when."""

from __future__ import annotations

from perfload.load.ai.answer import Answer
from perfload.load.ai.figures import NO_QUOTA
from perfload.load.ai.standing import Standing
from perfload.load.http.failures import REQUEST_TOO_LARGE

FIRST_S = 0.5
"""How long to wait before the first retry, where the server does not say."""


def may_succeed_later(answer: Answer) -> bool:
    """Return whether there was no response, or one that another time may be better."""
    if answer.ok or NO_QUOTA in answer.error or answer.error == REQUEST_TOO_LARGE:
        return False
    return answer.status in {0, 408, 429} or answer.status >= 500


def wait_s(standing: Standing, attempt: int, longest_s: float) -> float:
    """Return how long to wait behind `attempt`, the first of which is 0; `longest_s` at most."""
    after_s = standing.retry_after_s
    return min(FIRST_S * 2.0 ** min(attempt, 64) if after_s is None else after_s, longest_s)
