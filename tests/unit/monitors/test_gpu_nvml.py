import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace as Record
from typing import Any

import pynvml
import pytest

from perfload.monitors.base import Finding, Measurement, MonitorUnavailable
from perfload.monitors.gpu import GpuMonitor, is_present
from perfload.monitors.gpu.names import label
from perfload.monitors.gpu.nvml import NvmlSource

NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
GIB = 1 << 30

H100: dict[str, Any] = {
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetMigMode": (0, 0),
    "nvmlDeviceGetUtilizationRates": Record(gpu=87, memory=41),
    "nvmlDeviceGetMemoryInfo": Record(total=80 * GIB, used=20 * GIB, reserved=GIB, free=59 * GIB),
    "nvmlDeviceGetPowerUsage": 350_500,
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetClockInfo": {pynvml.NVML_CLOCK_SM: 1755, pynvml.NVML_CLOCK_MEM: 2619},
    "nvmlDeviceGetMaxClockInfo": {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 2619},
    "nvmlDeviceGetCurrentClocksEventReasons": 0x04 | 0x01,
    "nvmlDeviceGetPcieThroughput": {pynvml.NVML_PCIE_UTIL_TX_BYTES: 900, pynvml.NVML_PCIE_UTIL_RX_BYTES: 150},
    "nvmlDeviceGetCurrPcieLinkGeneration": 5,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    "nvmlDeviceGetTotalEccErrors": {
        pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED: 3,
        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED: 0,
    },
    "nvmlDeviceGetComputeRunningProcesses": [Record(pid=4711, usedGpuMemory=19 * GIB)],
    "nvmlDeviceGetGraphicsRunningProcesses": [],
    "nvmlSystemGetProcessName": "/usr/bin/python3 serve.py --api-key=hunter2",
}
"""What an H100 answers under load, by function; a dictionary is by the function's second argument."""


class Nvml:
    """Stands in for the module `pynvml`: its constants and errors are the real ones, its answers recorded."""

    def __init__(self, *cards: dict[str, Any], init: int | None = None) -> None:
        self.cards = list(cards)
        self.init = init
        self.shutdowns = 0

    def nvmlInit(self) -> None:
        if self.init is not None:
            raise pynvml.NVMLError(self.init)

    def nvmlShutdown(self) -> None:
        self.shutdowns += 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self.cards[index]

    def nvmlSystemGetProcessName(self, pid: int) -> Any:
        return self.cards[0].get("nvmlSystemGetProcessName", b"")

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: dict[str, Any], index: int) -> dict[str, Any]:
        instance: dict[str, Any] | None = card["instances"][index]
        if instance is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return instance

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDevice"):
            return getattr(pynvml, name)
        real = inspect.signature(getattr(pynvml, name))

        def ask(card: dict[str, Any], *arguments: Any, **options: Any) -> Any:
            real.bind(card, *arguments, **options)
            return self._answer(card, name, arguments)

        return ask

    def _answer(self, card: dict[str, Any], name: str, arguments: Sequence[Any]) -> Any:
        if name not in card:
            raise pynvml.NVMLError(NOT_SUPPORTED)
        answer = card[name]
        if isinstance(answer, dict):
            answer = answer[arguments[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def opened(*cards: dict[str, Any]) -> NvmlSource:
    source = NvmlSource(load=lambda: Nvml(*cards))
    source.open()
    return source


def values(found: Sequence[Measurement | Finding]) -> dict[str, float | str]:
    return {
        item.metric: item.unavailable if item.value is None else item.value
        for item in found
        if isinstance(item, Measurement)
    }


def error(code: int) -> Exception:
    made: Exception = pynvml.NVMLError(code)
    return made


def test_every_value_of_a_card() -> None:
    found = values(opened(H100).read())
    card = "0 H100 80GB HBM3"
    assert found == {
        f"utilisation_percent[{card}]": 87,
        f"memory_busy_percent[{card}]": 41,
        f"memory_used_bytes[{card}]": 20 * GIB,
        f"memory_total_bytes[{card}]": 80 * GIB,
        f"memory_percent[{card}]": 25,
        f"power_watts[{card}]": 350.5,
        f"power_limit_watts[{card}]": 700,
        f"temperature_celsius[{card}]": 61,
        f"clock_sm_mhz[{card}]": 1755,
        f"clock_sm_max_mhz[{card}]": 1980,
        f"clock_memory_mhz[{card}]": 2619,
        f"clock_memory_max_mhz[{card}]": 2619,
        f"pcie_link_generation[{card}]": 5,
        f"pcie_link_width[{card}]": 16,
        f"pcie_sent_bytes_per_s[{card}]": 900_000,
        f"pcie_received_bytes_per_s[{card}]": 150_000,
        f"ecc_corrected_errors[{card}]": 3,
        f"ecc_uncorrected_errors[{card}]": 0,
        f"throttled_power_cap[{card}]": 1,
        f"throttled_hardware_slowdown[{card}]": 0,
        f"throttled_thermal_software[{card}]": 0,
        f"throttled_thermal_hardware[{card}]": 0,
        f"throttled_power_brake[{card}]": 0,
        f"process_memory_bytes[{card}: 4711 python3]": 19 * GIB,
    }


def test_what_a_card_does_not_support_is_unavailable_and_the_rest_is_read() -> None:
    poor = {"nvmlDeviceGetName": b"NVIDIA GeForce GT 710", "nvmlDeviceGetTemperature": 40}
    found = values(opened(poor).read())
    reason = "this card does not support it, or not in its present mode"
    assert found.pop("temperature_celsius[0 GT 710]") == 40
    assert found["utilisation_percent[0 GT 710]"] == found["ecc_corrected_errors[0 GT 710]"] == reason
    assert found["process_memory_bytes[0 GT 710]"] == reason
    assert set(found.values()) == {reason}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_NO_PERMISSION, "the user lacks the right: the driver keeps it to root"),
        (pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, "the driver is too old for it"),
        (pynvml.NVML_ERROR_TIMEOUT, "NVML: Timeout"),
    ],
)
def test_reasons(code: int, reason: str) -> None:
    found = values(opened({**H100, "nvmlDeviceGetPowerUsage": error(code)}).read())
    assert found["power_watts[0 H100 80GB HBM3]"] == reason


def test_throttling_is_told_when_it_begins_and_when_it_ends() -> None:
    card = dict(H100)
    source = opened(card)

    def told() -> list[Any]:
        return [item.data["reasons"] for item in source.read() if isinstance(item, Finding)]

    assert told() == [["power_cap"]]
    assert told() == []
    card["nvmlDeviceGetCurrentClocksEventReasons"] = 0x20 | 0x40
    assert told() == [["thermal_software", "thermal_hardware"]]
    card["nvmlDeviceGetCurrentClocksEventReasons"] = 0
    assert told() == [[]]


def test_drivers_from_before_535_call_the_reasons_otherwise() -> None:
    old = {
        **H100,
        "nvmlDeviceGetCurrentClocksEventReasons": error(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND),
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x80,
    }
    assert values(opened(old).read())["throttled_power_brake[0 H100 80GB HBM3]"] == 1


def test_a_driver_without_the_second_form_of_memory_answers_in_the_first() -> None:
    class Old(Nvml):
        def nvmlDeviceGetMemoryInfo(self, card: Any, version: int | None = None) -> Any:
            if version is not None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
            return Record(total=2 * GIB, used=GIB, free=GIB)

    source = NvmlSource(load=lambda: Old(H100))
    source.open()
    assert values(source.read())["memory_percent[0 H100 80GB HBM3]"] == 50


def test_a_card_that_shares_the_memory_of_the_host_says_so() -> None:
    shared = {**H100, "nvmlDeviceGetMemoryInfo": Record(total=0, used=0, free=0)}
    found = values(opened(shared).read())
    assert found["memory_percent[0 H100 80GB HBM3]"] == "the card has no memory of its own"


def test_only_the_five_processes_with_most_memory_are_shown() -> None:
    processes = [Record(pid=pid, usedGpuMemory=pid * GIB) for pid in range(1, 9)]
    graphics = [Record(pid=8, usedGpuMemory=1), Record(pid=20, usedGpuMemory=20 * GIB)]
    card = {
        **H100,
        "nvmlDeviceGetComputeRunningProcesses": processes,
        "nvmlDeviceGetGraphicsRunningProcesses": graphics,
    }
    found = values(opened(card).read())
    shown = {name.partition(": ")[2]: value for name, value in found.items() if name.startswith("process")}
    assert shown == {f"{pid} python3]": pid * GIB for pid in (20, 8, 7, 6, 5)}


def test_a_driver_that_does_not_tell_the_memory_of_a_process() -> None:
    card = {**H100, "nvmlDeviceGetComputeRunningProcesses": [Record(pid=1, usedGpuMemory=None)]}
    found = values(opened(card).read())
    reason = found["process_memory_bytes[0 H100 80GB HBM3: 1 python3]"]
    assert reason == "the driver does not tell it for single processes"


def test_cards_have_their_index_in_their_label() -> None:
    found = values(opened(H100, {**H100, "nvmlDeviceGetTemperature": 70}).read())
    assert found["temperature_celsius[0 H100 80GB HBM3]"] == 61
    assert found["temperature_celsius[1 H100 80GB HBM3]"] == 70


def test_many_cards_take_turns_with_the_slow_counters_of_their_bus() -> None:
    source = opened(*[H100] * 6)

    def watched() -> set[str]:
        names = [name for name in values(source.read()) if name.startswith("pcie_sent")]
        return {name.partition("[")[2].partition(" ")[0] for name in names}

    first, second = watched(), watched()
    assert max(len(first), len(second)) <= 4
    assert first | second == set("012345")


def test_the_parts_of_a_divided_card() -> None:
    instance = {
        "nvmlDeviceGetMemoryInfo": Record(total=10 * GIB, used=GIB, free=9 * GIB),
        "nvmlDeviceGetComputeRunningProcesses": [Record(pid=7, usedGpuMemory=GIB)],
    }
    divided = {
        **H100,
        "nvmlDeviceGetMigMode": (1, 1),
        "nvmlDeviceGetUtilizationRates": error(NOT_SUPPORTED),
        "nvmlDeviceGetMaxMigDeviceCount": 3,
        "nvmlDeviceGetComputeRunningProcesses": [],
        "instances": [instance, None, instance],
    }
    found = values(opened(divided).read())
    parts = {name: value for name, value in found.items() if "MIG" in name}
    assert parts == {
        f"{metric}[0 H100 80GB HBM3 MIG {index}{rest}]": value
        for index in (0, 2)
        for metric, rest, value in (
            ("memory_used_bytes", "", GIB),
            ("memory_total_bytes", "", 10 * GIB),
            ("memory_percent", "", 10),
            ("process_memory_bytes", ": 7 python3", GIB),
        )
    }
    assert found["utilisation_percent[0 H100 80GB HBM3]"] == (
        "this card does not support it, or not in its present mode"
    )


def test_a_card_that_is_lost_fails_the_whole_so_that_a_new_start_is_made() -> None:
    lost = dict.fromkeys(
        [name for name in H100 if name.startswith("nvmlDevice")], error(pynvml.NVML_ERROR_GPU_IS_LOST)
    )
    card = dict(H100)
    monitor = GpuMonitor([NvmlSource(load=lambda: Nvml(card))])
    monitor.open()
    card.update(lost)
    with pytest.raises(MonitorUnavailable, match="NVML: GPU is lost"):
        monitor.read(1)


def test_the_library_is_let_go() -> None:
    nvml = Nvml(H100)
    source = NvmlSource(load=lambda: nvml)
    source.open()
    source.close()
    source.close()
    assert nvml.shutdowns == 1


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [
        (
            Nvml(init=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND),
            "NVML cannot be used: NVML Shared Library Not Found",
        ),
        (Nvml(init=pynvml.NVML_ERROR_DRIVER_NOT_LOADED), "NVML cannot be used: Driver Not Loaded"),
        (Nvml(), "NVML finds no card"),
    ],
)
def test_no_card_is_a_reason(nvml: Nvml, reason: str) -> None:
    with pytest.raises(MonitorUnavailable) as raised:
        NvmlSource(load=lambda: nvml).open()
    assert raised.value.message == reason


def refuse(error: Exception) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


@pytest.mark.parametrize(
    ("nvml", "present"),
    [
        (Nvml(H100), True),
        (Nvml(), False),
        (Nvml(init=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND), False),
        (Nvml(init=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH), False),
    ],
)
def test_presence_is_what_nvml_says(nvml: Nvml, present: bool) -> None:
    assert is_present(load=lambda: nvml, which=lambda name: "/usr/bin/nvidia-smi") is present
    assert nvml.shutdowns == (1 if nvml.init is None else 0)


def test_without_the_client_library_nvidia_smi_stands_for_a_card() -> None:
    missing = refuse(MonitorUnavailable("not installed"))
    assert is_present(load=missing, which=lambda name: None) is False
    assert is_present(load=missing, which=lambda name: "/usr/bin/nvidia-smi") is True


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("NVIDIA GeForce RTX 4090", "3 RTX 4090"),
        ("Tesla V100-SXM2-16GB", "3 Tesla V100-SXM2-16GB"),
        ("A]very[ long,name" * 9, "3 Avery longnameAvery long"),
        ("", "3"),
    ],
)
def test_a_label_is_short(name: str, shown: str) -> None:
    assert label(3, name) == shown


def test_every_metric_is_described() -> None:
    page = Path(__file__).parents[3] / "docs" / "monitors" / "gpu.md"
    rows = re.findall(r"^\| `([a-z_0-9]+)\[0 H100[^`]*\]` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows) == {metric.partition("[")[0] for metric in values(opened(H100).read())}
