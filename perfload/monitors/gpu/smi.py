"""The second source: GPUtil, which runs nvidia-smi and reads what it prints."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from perfload.monitors.base import Found, Measurement, MonitorUnavailable
from perfload.monitors.gpu.names import label

_BYTES_PER_MIB = 1_048_576


def _load_gputil() -> Any:
    try:
        return importlib.import_module("GPUtil")
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "distutils":
            # It left the standard library with Python 3.12, and GPUtil still imports it.
            raise MonitorUnavailable(
                "GPUtil needs distutils, which this Python lacks", hint="pip install setuptools"
            ) from error
        raise MonitorUnavailable("GPUtil is not installed", hint="pip install 'perfload[gpu]'") from error
    except Exception as error:
        raise MonitorUnavailable(f"GPUtil cannot be imported: {type(error).__name__}") from error


class SmiSource:
    """Utilisation, memory and temperature: what GPUtil asks for. Starts a process at each read."""

    def __init__(self, *, load: Callable[[], Any] = _load_gputil) -> None:
        self._load = load
        self._gputil: Any = None

    def open(self) -> None:
        """Find the cards."""
        self._gputil = self._load()
        self._cards()

    def close(self) -> None:
        """Do nothing: nvidia-smi has ended."""

    def read(self) -> Found:
        """Return the values of now."""
        return [item for card in self._cards() for item in _measure(card)]

    def _cards(self) -> list[Any]:
        try:
            cards = list(self._gputil.getGPUs())
        except Exception as error:
            # GPUtil takes whatever nvidia-smi prints for a table, an error message too.
            raise MonitorUnavailable(
                f"nvidia-smi prints no list of cards ({type(error).__name__})", hint="is the driver loaded?"
            ) from error
        if not cards:
            raise MonitorUnavailable("nvidia-smi is not there or finds no card")
        return cards


def _measure(card: Any) -> Iterator[Measurement]:
    shown = label(card.id, str(card.name))
    values = (
        ("utilisation_percent", "%", 100 * card.load),
        ("memory_used_bytes", "bytes", _BYTES_PER_MIB * card.memoryUsed),
        ("memory_total_bytes", "bytes", _BYTES_PER_MIB * card.memoryTotal),
        ("memory_percent", "%", 100 * card.memoryUtil),
        ("temperature_celsius", "°C", card.temperature),
    )
    for metric, unit, value in values:
        if math.isnan(value):
            yield Measurement(f"{metric}[{shown}]", unit, None, "nvidia-smi gives no value for this card")
        else:
            yield Measurement(f"{metric}[{shown}]", unit, float(value))
