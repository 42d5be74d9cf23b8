import sys
from types import ModuleType
from typing import Any

import pytest

from perfload.monitors.base import Measurement, MonitorUnavailable
from perfload.monitors.gpu import GpuMonitor
from perfload.monitors.gpu.smi import SmiSource

MIB = 1 << 20


class Card:
    def __init__(self, **changes: Any) -> None:
        self.id = 1
        self.name = "NVIDIA A10"
        self.load = 0.5
        self.memoryUsed = 1000.0
        self.memoryTotal = 4000.0
        self.memoryUtil = 0.25
        self.temperature = 55.0
        self.__dict__.update(changes)


def gputil(*cards: Card, error: Exception | None = None) -> ModuleType:
    def get() -> list[Card]:
        if error is not None:
            raise error
        return list(cards)

    module = ModuleType("GPUtil")
    module.getGPUs = get  # type: ignore[attr-defined]
    return module


def test_its_values_have_the_names_that_those_of_nvml_have() -> None:
    source = SmiSource(load=lambda: gputil(Card()))
    source.open()
    assert source.read() == [
        Measurement("utilisation_percent[1 A10]", "%", 50.0),
        Measurement("memory_used_bytes[1 A10]", "bytes", 1000.0 * MIB),
        Measurement("memory_total_bytes[1 A10]", "bytes", 4000.0 * MIB),
        Measurement("memory_percent[1 A10]", "%", 25.0),
        Measurement("temperature_celsius[1 A10]", "°C", 55.0),
    ]


def test_what_nvidia_smi_leaves_out_is_no_value() -> None:
    source = SmiSource(load=lambda: gputil(Card(load=float("nan"))))
    source.open()
    first, second, *_ = source.read()
    assert first == Measurement(
        "utilisation_percent[1 A10]", "%", None, "nvidia-smi gives no value for this card"
    )
    assert isinstance(second, Measurement)
    assert second.value == 1000.0 * MIB


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (gputil(), "nvidia-smi is not there or finds no card"),
        # It takes "NVIDIA-SMI has failed because …" for the number of a card.
        (gputil(error=ValueError("invalid literal")), "nvidia-smi prints no list of cards (ValueError)"),
    ],
)
def test_no_card_is_a_reason(module: ModuleType, reason: str) -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        SmiSource(load=lambda: module).open()
    assert raised.value.message == reason


class Missing:
    """Makes an import of GPUtil fail over the module `name`, which it imports."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, *_: Any) -> None:
        if fullname == "GPUtil":
            raise ModuleNotFoundError(f"No module named {self._name!r}", name=self._name)


@pytest.mark.parametrize(
    ("name", "hint"), [("distutils", "pip install setuptools"), ("GPUtil", "pip install 'perfload[gpu]'")]
)
def test_what_is_missing_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.delitem(sys.modules, "GPUtil", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(name), *sys.meta_path])
    with pytest.raises(MonitorUnavailable) as raised:
        SmiSource().open()
    assert raised.value.hint == hint


class Source:
    """A source that is there, or the reason why it is not."""

    def __init__(self, reason: str = "", value: float | None = 1.0) -> None:
        self.reason = reason
        self.value = value
        self.closed = 0

    def open(self) -> None:
        if self.reason:
            raise MonitorUnavailable(self.reason, hint=f"fix {self.reason}")

    def read(self) -> list[Measurement]:
        return [Measurement("power_watts[0]", "W", self.value, "" if self.value is not None else "lost")]

    def close(self) -> None:
        self.closed += 1


def test_the_second_source_is_taken_where_the_first_cannot_be_used() -> None:
    first, second = Source("one"), Source(value=7.0)
    monitor = GpuMonitor([first, second])
    monitor.open()
    assert monitor.read(1) == [Measurement("power_watts[0]", "W", 7.0)]
    monitor.close()
    assert (first.closed, second.closed) == (1, 1)


def test_without_any_source_both_reasons_are_told() -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        GpuMonitor([Source("one"), Source("two")]).open()
    assert raised.value.message == "one; fix one, and two; fix two"
