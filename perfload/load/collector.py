"""Python's garbage collector during the load: kept away from what lives as long as the load does.

A full collection looks at every object there is, and stops the process meanwhile: tens of milliseconds with a
thousand users, that would be measured as latency. What a request leaves behind is freed without it.
"""

from __future__ import annotations

import gc
from typing import Any


class CollectorPolicy:
    """Freezes what is alive when the load begins, and again when all users of a closed load are there."""

    def __init__(self, events: Any, *, freezes: bool) -> None:
        self._events = events
        self._freezes = freezes

    def begin(self) -> None:
        """Collect, and freeze what is left; without `freezes` nothing is done, here and below."""
        if not self._freezes:
            return
        gc.collect()
        gc.freeze()
        self._events.spawning_complete.add_listener(self._freeze_users)

    def _freeze_users(self, **_: Any) -> None:
        gc.freeze()

    def end(self) -> None:
        """Leave the collector as it was."""
        if self._freezes:
            self._events.spawning_complete.remove_listener(self._freeze_users)
            gc.unfreeze()
