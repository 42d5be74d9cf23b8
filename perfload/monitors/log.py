"""The files that a sampler appends to, on a disk that may be full or gone at any time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path


class LineLog:
    """Appends each line with one `write`, so that lines of several processes never mix.

    The file is opened anew for each batch: through a descriptor that was kept, lines would go on vanishing
    into a file that somebody has removed. `tell` takes a message for the person who looks after the machine,
    once when writing begins to fail and once when it works again.
    """

    def __init__(self, path: Path, *, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self._lost = 0
        self._torn = False

    def append(self, lines: Sequence[str]) -> None:
        """Append `lines` (ASCII, without newlines); those that cannot be written are counted and given up.

        Raises no `OSError`.
        """
        written = 0
        try:
            # No folder is made: one that was removed during a run was removed on purpose.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                for line in lines:
                    self._append_line(descriptor, line)
                    written += 1
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._lost:
                self._tell(
                    f"cannot write to {self._path}: {error.strerror}; what comes in is lost until it works"
                )
            self._lost += len(lines) - written
        else:
            if self._lost:
                self._tell(f"writes to {self._path} again; lines lost: {self._lost}")
            self._lost = 0

    def _append_line(self, descriptor: int, line: str) -> None:
        # A line that a full disk cut short must not swallow the next one.
        data = f"{chr(10) if self._torn else ''}{line}\n".encode("ascii")
        count = os.write(descriptor, data)
        self._torn = count < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
