"""The embedded system under test: a small HTTP service whose truth is known, with faults on demand.

Its packages are optional; call `require_extra` before importing `app`, `tokens` or `server`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from perfload.errors import UsageError

REQUIRED_PACKAGES = ("httptools", "jwt", "uvicorn")


def require_extra(
    packages: Iterable[str] = REQUIRED_PACKAGES, *, extra: str = "target", what: str = "the target"
) -> None:
    """Raise `UsageError` with the command to run, unless the optional packages of `what` can be imported."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{what} needs packages that are not installed: {', '.join(missing)}",
            hint=f"pip install 'perfload[{extra}]'",
        )
