"""`GpuMonitor`: the first source that works, and whether there is anything to watch."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from perfload.monitors.base import Found, Measurement, MonitorUnavailable
from perfload.monitors.gpu.nvml import NvmlSource, load_pynvml
from perfload.monitors.gpu.smi import SmiSource


class GpuSource(Protocol):
    """A way to ask the cards."""

    def open(self) -> None:
        """Find the cards; raises `MonitorUnavailable` if there are none, or no way to ask them."""

    def read(self) -> Found:
        """Return the values of now."""

    def close(self) -> None:
        """Let go of the cards."""


class GpuMonitor:
    """All cards of this machine. Metrics and units are listed in `docs/monitors/gpu.md`."""

    def __init__(self, sources: Sequence[GpuSource]) -> None:
        self._sources = sources
        self._source: GpuSource | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return a monitor of this machine's cards; it needs nothing from `environment`."""
        del environment
        return cls([NvmlSource(), SmiSource()])

    def open(self) -> None:
        """Choose the first source that finds a card."""
        reasons = []
        for source in self._sources:
            try:
                source.open()
            except MonitorUnavailable as error:
                reasons.append("; ".join(part for part in (error.message, error.hint) if part))
                with contextlib.suppress(Exception):
                    source.close()
            else:
                self._source = source
                return
        raise MonitorUnavailable(", and ".join(reasons))

    def read(self, at_s: float) -> Found:
        """Return the values of now; what a card does not support is unavailable, with the reason."""
        del at_s
        if self._source is None:
            raise MonitorUnavailable("no source is open")
        found = self._source.read()
        values = [item for item in found if isinstance(item, Measurement)]
        if values and all(item.value is None for item in values):
            # The driver was reloaded, or the card fell off the bus: only a new start may help.
            raise MonitorUnavailable(values[0].unavailable)
        return found

    def close(self) -> None:
        """Let go of the cards."""
        if self._source is not None:
            self._source.close()


def is_present(
    *, load: Callable[[], Any] = load_pynvml, which: Callable[[str], str | None] = shutil.which
) -> bool:
    """Say whether this machine has a card to watch. Asks NVML and reads nothing else; never raises.

    Without the client library, nvidia-smi stands for a card: the monitor then says what to install.
    """
    try:
        pynvml = load()
    except Exception:
        return which("nvidia-smi") is not None
    try:
        pynvml.nvmlInit()
    except Exception:
        return False
    try:
        return int(pynvml.nvmlDeviceGetCount()) > 0
    except Exception:
        return False
    finally:
        with contextlib.suppress(Exception):
            pynvml.nvmlShutdown()
