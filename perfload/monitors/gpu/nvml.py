"""The first source: NVML, the driver's own library, through `pynvml`."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable
from perfload.monitors.gpu.names import label, short_name

MAX_CARDS = 16
MAX_PROCESSES = 5
PCIE_PER_READ = 4
"""PCIe counters: NVML watches the bus for 20 ms in each direction, so many cards take turns."""

_NO_MEMORY = (1 << 64) - 1

THROTTLE_REASONS = (
    ("power_cap", 0x04),
    ("hardware_slowdown", 0x08),
    ("thermal_software", 0x20),
    ("thermal_hardware", 0x40),
    ("power_brake", 0x80),
)
"""Why clocks are lower than they could be; NVML's other reasons (idle, chosen clocks) limit no work."""


def load_pynvml() -> Any:
    """Return the module `pynvml`; loading NVML itself is left to its `nvmlInit`."""
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise MonitorUnavailable(
            "the client library of NVML is not installed", hint="pip install 'perfload[gpu]'"
        ) from error


@dataclass(frozen=True, slots=True)
class _Card:
    """A card, or one part of a card that is divided by MIG."""

    handle: Any
    shown: str
    part_of: str = ""


@dataclass(frozen=True, slots=True)
class _Part:
    """Metrics that come from one call, and so fail together."""

    metrics: tuple[tuple[str, str], ...]
    read: Callable[[Any], Sequence[float]]


class NvmlSource:
    """Asks NVML about every card; `load` returns the module `pynvml`, or a recorded stand-in in tests."""

    def __init__(self, *, load: Callable[[], Any] = load_pynvml) -> None:
        self._load = load
        self._nvml: Any = None
        self._cards: list[_Card] = []
        self._reads = 0
        self._throttled: dict[str, list[str]] = {}

    def open(self) -> None:
        """Load NVML and find the cards."""
        nvml = self._load()
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise MonitorUnavailable(f"NVML cannot be used: {error}") from error
        self._nvml = nvml
        try:
            self._cards = list(self._find_cards())
        except nvml.NVMLError as error:
            raise MonitorUnavailable(f"NVML cannot list the cards: {error}") from error
        if not self._cards:
            raise MonitorUnavailable("NVML finds no card")

    def close(self) -> None:
        """Let go of NVML."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()

    def read(self) -> Found:
        """Return the values of now."""
        self._reads += 1
        return [item for index, card in enumerate(self._cards) for item in self._read_card(index, card)]

    def _find_cards(self) -> Iterator[_Card]:
        nvml = self._nvml
        for index in range(min(nvml.nvmlDeviceGetCount(), MAX_CARDS)):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            card = _Card(handle, label(index, _text(nvml.nvmlDeviceGetName(handle))))
            yield card
            yield from self._find_instances(card)

    def _find_instances(self, card: _Card) -> Iterator[_Card]:
        nvml = self._nvml
        try:
            is_divided = nvml.nvmlDeviceGetMigMode(card.handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
            count = nvml.nvmlDeviceGetMaxMigDeviceCount(card.handle) if is_divided else 0
        except nvml.NVMLError:
            return
        for index in range(count):
            # Places for instances that were not made are empty.
            with contextlib.suppress(nvml.NVMLError):
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(card.handle, index)
                yield _Card(handle, f"{card.shown} MIG {index}", part_of=card.shown)

    def _read_card(self, index: int, card: _Card) -> Iterator[Measurement | Finding]:
        parts = [*self._shared_parts()] if card.part_of else [*self._shared_parts(), *self._card_parts()]
        groups = -(-len(self._cards) // PCIE_PER_READ)
        if not card.part_of and index % groups == self._reads % groups:
            parts.append(self._pcie_traffic())
        for part in parts:
            yield from self._measure(part, card)
        if not card.part_of:
            yield from self._throttling(card)
        yield from self._processes(card)

    def _measure(self, part: _Part, card: _Card) -> Iterator[Measurement]:
        metrics = [(f"{metric}[{card.shown}]", unit) for metric, unit in part.metrics]
        try:
            values = part.read(card.handle)
        except Exception as error:
            reason = self._reason(error)
            yield from (Measurement(metric, unit, None, reason) for metric, unit in metrics)
        else:
            for (metric, unit), value in zip(metrics, values, strict=True):
                yield Measurement(metric, unit, float(value))

    def _reason(self, error: Exception) -> str:
        if isinstance(error, MonitorUnavailable):
            return error.message
        code = getattr(error, "value", None)
        if code == self._nvml.NVML_ERROR_NOT_SUPPORTED:
            return "this card does not support it, or not in its present mode"
        if code == self._nvml.NVML_ERROR_NO_PERMISSION:
            return "the user lacks the right: the driver keeps it to root"
        if code == self._nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            return "the driver is too old for it"
        return f"NVML: {error}" if isinstance(error, self._nvml.NVMLError) else type(error).__name__

    def _shared_parts(self) -> Iterator[_Part]:
        """Yield what a card has, and each of its MIG instances too."""
        yield _Part(
            (("memory_used_bytes", "bytes"), ("memory_total_bytes", "bytes"), ("memory_percent", "%")),
            self._memory,
        )

    def _card_parts(self) -> Iterator[_Part]:
        nvml = self._nvml
        yield _Part((("utilisation_percent", "%"), ("memory_busy_percent", "%")), self._utilisation)
        yield _Part((("power_watts", "W"),), lambda card: [nvml.nvmlDeviceGetPowerUsage(card) / 1000])
        yield _Part(
            (("power_limit_watts", "W"),), lambda card: [nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000]
        )
        yield _Part(
            (("temperature_celsius", "°C"),),
            lambda card: [nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)],
        )
        yield self._clock("sm", nvml.NVML_CLOCK_SM)
        yield self._clock("memory", nvml.NVML_CLOCK_MEM)
        yield _Part(
            (("pcie_link_generation", ""), ("pcie_link_width", "lanes")),
            lambda card: [
                nvml.nvmlDeviceGetCurrPcieLinkGeneration(card),
                nvml.nvmlDeviceGetCurrPcieLinkWidth(card),
            ],
        )
        yield self._ecc("corrected", nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED)
        yield self._ecc("uncorrected", nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)

    def _clock(self, name: str, clock: int) -> _Part:
        nvml = self._nvml
        return _Part(
            ((f"clock_{name}_mhz", "MHz"), (f"clock_{name}_max_mhz", "MHz")),
            lambda card: [
                nvml.nvmlDeviceGetClockInfo(card, clock),
                nvml.nvmlDeviceGetMaxClockInfo(card, clock),
            ],
        )

    def _ecc(self, name: str, kind: int) -> _Part:
        nvml = self._nvml
        return _Part(
            ((f"ecc_{name}_errors", "errors"),),
            lambda card: [nvml.nvmlDeviceGetTotalEccErrors(card, kind, nvml.NVML_VOLATILE_ECC)],
        )

    def _pcie_traffic(self) -> _Part:
        nvml = self._nvml
        directions = (nvml.NVML_PCIE_UTIL_TX_BYTES, nvml.NVML_PCIE_UTIL_RX_BYTES)
        return _Part(
            (("pcie_sent_bytes_per_s", "bytes/s"), ("pcie_received_bytes_per_s", "bytes/s")),
            # In kB per second.
            lambda card: [1000 * nvml.nvmlDeviceGetPcieThroughput(card, way) for way in directions],
        )

    def _utilisation(self, handle: Any) -> Sequence[float]:
        rates = self._nvml.nvmlDeviceGetUtilizationRates(handle)
        return rates.gpu, rates.memory

    def _memory(self, handle: Any) -> Sequence[float]:
        try:
            # The first version counts what the driver keeps for itself as used.
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle, version=self._nvml.nvmlMemory_v2)
        except (self._nvml.NVMLError, AttributeError):
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        if not memory.total:
            raise MonitorUnavailable("the card has no memory of its own")
        return memory.used, memory.total, 100 * memory.used / memory.total

    def _throttling(self, card: _Card) -> Iterator[Measurement | Finding]:
        metrics = tuple((f"throttled_{name}", "") for name, _ in THROTTLE_REASONS)
        flags = list(self._measure(_Part(metrics, self._throttle_flags), card))
        yield from flags
        if any(flag.value is None for flag in flags):
            return
        reasons = [name for (name, _), flag in zip(THROTTLE_REASONS, flags, strict=True) if flag.value]
        if reasons != self._throttled.get(card.shown, []):
            self._throttled[card.shown] = reasons
            yield Finding("throttling", {"card": card.shown, "reasons": reasons})

    def _throttle_flags(self, handle: Any) -> Sequence[float]:
        nvml = self._nvml
        try:
            mask = nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        except (nvml.NVMLError_FunctionNotFound, AttributeError):
            # What drivers before 535 call it.
            mask = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        return [float(bool(mask & bit)) for _, bit in THROTTLE_REASONS]

    def _processes(self, card: _Card) -> Iterator[Measurement]:
        """Yield the processes with most of the card's memory; a card without any has none to yield."""
        nvml = self._nvml
        used: dict[int, int | None] = {}
        try:
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(card.handle):
                used[process.pid] = process.usedGpuMemory
            if not card.part_of:
                for process in nvml.nvmlDeviceGetGraphicsRunningProcesses(card.handle):
                    used.setdefault(process.pid, process.usedGpuMemory)
        except Exception as error:
            yield Measurement(f"process_memory_bytes[{card.shown}]", "bytes", None, self._reason(error))
            return
        largest = sorted(used.items(), key=lambda item: (-(item[1] or 0), item[0]))
        for pid, used_bytes in largest[:MAX_PROCESSES]:
            metric = f"process_memory_bytes[{card.shown}: {pid} {self._process_name(pid)}".rstrip() + "]"
            if used_bytes is None or used_bytes == _NO_MEMORY:
                yield Measurement(metric, "bytes", None, "the driver does not tell it for single processes")
            else:
                yield Measurement(metric, "bytes", float(used_bytes))

    def _process_name(self, pid: int) -> str:
        # NVML's and not the host's own list: in a container the same number is another process.
        try:
            words = _text(self._nvml.nvmlSystemGetProcessName(pid)).split()
        except Exception:
            return ""
        # The first word only: arguments may hold secrets.
        return short_name(words[0].replace("\\", "/").rpartition("/")[2]) if words else ""


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
