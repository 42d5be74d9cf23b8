"""Why an operation failed, in words that are the same for the same failure. pymongo is imported when needed.

OperationFailed    what is recorded: its text is the reason
StepFailed         what ends the task: the failure has been recorded, and is no mistake of the scenario
"""

from __future__ import annotations

import re

from locust.exception import RescheduleTask

from perfload.load.http.failures import CUT_OFF, RequestFailed

DUPLICATE_KEY = "DuplicateKey"
POOL_TIMEOUT = "timed out: no free connection in the pool"
NO_SERVER = "no server to be had"
NOT_PRIMARY = "NotPrimary"
NETWORK_TIMEOUT = "timed out: network"
SERVER_TIMEOUT = "timed out: maxTimeMS"
CONNECTION_LOST = "connection lost"

_DUPLICATE_KEY_CODES = {11000, 11001, 12582}
_MAX_NAME_CHARS = 60
_NAME = re.compile(r"\w+")

__all__ = ["CUT_OFF", "OperationFailed", "StepFailed", "reason_of"]


class OperationFailed(RequestFailed):
    """An operation that failed; `reason` holds nothing that differs between two such failures."""


class StepFailed(RescheduleTask):
    """Ends the task after an operation has failed: Locust goes on with the next, and the run stays valid."""


def reason_of(error: Exception) -> str:
    """Return the short reason of an exception of pymongo."""
    from pymongo import errors

    if isinstance(error, errors.BulkWriteError):
        return _reason_in_bulk(error.details)
    for kind, reason in (
        (errors.DuplicateKeyError, DUPLICATE_KEY),
        (errors.WaitQueueTimeoutError, POOL_TIMEOUT),
        (errors.ServerSelectionTimeoutError, NO_SERVER),
        (errors.NotPrimaryError, NOT_PRIMARY),
        (errors.NetworkTimeout, NETWORK_TIMEOUT),
        (errors.ExecutionTimeout, SERVER_TIMEOUT),
        (errors.ConnectionFailure, CONNECTION_LOST),
    ):
        if isinstance(error, kind):
            return reason
    if isinstance(error, errors.OperationFailure):
        return _reason_of_code(error.code, (error.details or {}).get("codeName"))
    return type(error).__name__


def _reason_in_bulk(details: object) -> str:
    """Return the reason of the first of many writes that failed."""
    found = details if isinstance(details, dict) else {}
    for kind in ("writeErrors", "writeConcernErrors"):
        if found.get(kind):
            first = found[kind][0]
            return _reason_of_code(first.get("code"), first.get("codeName"))
    return "BulkWriteError"


def _reason_of_code(code: object, name: object) -> str:
    if code in _DUPLICATE_KEY_CODES:
        return DUPLICATE_KEY
    if isinstance(name, str) and (match := _NAME.match(name)):
        return match.group()[:_MAX_NAME_CHARS]
    return f"error {code}" if isinstance(code, int) else "OperationFailure"
