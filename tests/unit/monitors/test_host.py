from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from perfload.monitors.base import Measurement, MonitorUnavailable
from perfload.monitors.host import HostMonitor

Cpu = namedtuple("Cpu", "user system idle iowait steal guest")
GIB = 2**30


class RecordedPsutil:
    """What psutil said on a machine with two processors, at two times ten seconds apart."""

    def __init__(self) -> None:
        self.cpu = [Cpu(100, 50, 800, 40, 10, 90), Cpu(100, 50, 800, 40, 10, 0)]
        self.swap = SimpleNamespace(total=4 * GIB, used=GIB)
        self.memory = SimpleNamespace(total=16 * GIB, available=4 * GIB, used=11 * GIB, percent=68.8)
        self.interfaces = {"lo": (5_000, 5_000), "eth0": (1_000_000, 2_000_000), "eth1": (10, 20)}
        self.disk: Any = SimpleNamespace(read_bytes=500_000, write_bytes=900_000)

    def advance(self) -> None:
        # Processor 0 works 6 s + 1 s of 10 s (its guest time is in `user` already), processor 1 for 1 s.
        self.cpu = [Cpu(106, 51, 802, 41, 10, 95), Cpu(100, 50, 809, 40, 11, 0)]
        self.interfaces = {"lo": (9_000_000, 9_000_000), "eth0": (1_050_000, 2_400_000), "eth1": (60, 20)}
        self.disk = SimpleNamespace(read_bytes=520_000, write_bytes=1_000_000)

    def cpu_times(self, percpu: bool) -> list[Cpu]:
        assert percpu
        return self.cpu

    def virtual_memory(self) -> SimpleNamespace:
        return self.memory

    def swap_memory(self) -> SimpleNamespace:
        return self.swap

    def getloadavg(self) -> tuple[float, float, float]:
        return (1.25, 9.0, 9.0)

    def net_io_counters(self, pernic: bool) -> dict[str, SimpleNamespace]:
        assert pernic
        return {
            name: SimpleNamespace(bytes_sent=sent, bytes_recv=received)
            for name, (sent, received) in self.interfaces.items()
        }

    def disk_io_counters(self) -> Any:
        return self.disk


@pytest.fixture
def source() -> RecordedPsutil:
    return RecordedPsutil()


@pytest.fixture
def host(source: RecordedPsutil) -> HostMonitor:
    return HostMonitor(psutil=source)


def by_metric(measurements: list[Measurement]) -> dict[str, Measurement]:
    found = {measurement.metric: measurement for measurement in measurements}
    assert len(found) == len(measurements)
    return found


def second_read(host: HostMonitor, source: RecordedPsutil) -> dict[str, Measurement]:
    host.read(1000.0)
    source.advance()
    return by_metric(host.read(1010.0))


def test_the_first_read_has_only_what_needs_no_difference(host: HostMonitor) -> None:
    assert host.read(1000.0) == [
        Measurement("memory_percent", "%", 75.0),
        Measurement("memory_used_bytes", "bytes", 12 * GIB),
        Measurement("swap_percent", "%", 25.0),
        Measurement("load_1m", "processes", 1.25),
    ]


def test_the_second_read_has_every_metric_with_exact_values(
    host: HostMonitor, source: RecordedPsutil
) -> None:
    host.read(1000.0)
    source.advance()
    assert host.read(1010.0) == [
        Measurement("cpu_percent", "%", 40.0),
        Measurement("cpu_percent_max_core", "%", 70.0),
        Measurement("memory_percent", "%", 75.0),
        Measurement("memory_used_bytes", "bytes", 12 * GIB),
        Measurement("swap_percent", "%", 25.0),
        Measurement("load_1m", "processes", 1.25),
        Measurement("network_sent_bytes_per_s", "bytes/s", 5_005.0),
        Measurement("network_received_bytes_per_s", "bytes/s", 40_000.0),
        Measurement("disk_read_bytes_per_s", "bytes/s", 2_000.0),
        Measurement("disk_written_bytes_per_s", "bytes/s", 10_000.0),
    ]


def test_rates_are_per_second_since_the_read_before(host: HostMonitor, source: RecordedPsutil) -> None:
    second_read(host, source)
    source.disk = SimpleNamespace(read_bytes=521_000, write_bytes=1_000_000)
    third = by_metric(host.read(1010.5))
    assert third["disk_read_bytes_per_s"].value == 2_000.0
    assert third["disk_written_bytes_per_s"].value == 0.0


def test_a_part_that_fails_says_why_and_leaves_the_others_alone(
    host: HostMonitor, source: RecordedPsutil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PermissionError("/proc/diskstats")

    host.read(1000.0)
    source.advance()
    monkeypatch.setattr(source, "disk_io_counters", fail)
    found = by_metric(host.read(1010.0))
    reason = "PermissionError: /proc/diskstats"
    assert found["disk_read_bytes_per_s"] == Measurement("disk_read_bytes_per_s", "bytes/s", None, reason)
    assert found["disk_written_bytes_per_s"].unavailable == reason
    assert found["cpu_percent"].value == 40.0


def test_after_a_failed_read_a_rate_spans_the_gap(host: HostMonitor, source: RecordedPsutil) -> None:
    first, source.disk = source.disk, None
    host.read(999.0)
    source.disk = first
    host.read(1000.0)
    source.disk = None
    assert (
        by_metric(host.read(1005.0))["disk_read_bytes_per_s"].unavailable == "this host has no disk counters"
    )
    source.disk = SimpleNamespace(read_bytes=600_000, write_bytes=900_000)
    assert by_metric(host.read(1010.0))["disk_read_bytes_per_s"].value == 10_000.0


def test_no_swap_is_no_swap_and_not_an_empty_one(host: HostMonitor, source: RecordedPsutil) -> None:
    source.swap = SimpleNamespace(total=0, used=0)
    assert by_metric(host.read(1000.0))["swap_percent"] == Measurement(
        "swap_percent", "%", None, "this host has no swap"
    )


def test_loopback_alone_is_no_network(host: HostMonitor, source: RecordedPsutil) -> None:
    source.interfaces = {"lo": (1, 1), "lo0": (1, 1), "Loopback Pseudo-Interface 1": (1, 1)}
    reason = "this host has no network interface but loopback"
    assert by_metric(host.read(1000.0))["network_sent_bytes_per_s"].unavailable == reason


def test_an_interface_counts_from_the_second_time_it_is_seen(
    host: HostMonitor, source: RecordedPsutil
) -> None:
    host.read(1000.0)
    source.interfaces |= {"eth0": (1_000_300, 2_000_000), "veth9": (7_000_000, 7_000_000)}
    assert by_metric(host.read(1001.0))["network_sent_bytes_per_s"].value == 300.0
    source.interfaces |= {"veth9": (7_000_011, 7_000_000)}
    assert by_metric(host.read(1002.0))["network_sent_bytes_per_s"].value == 11.0


@pytest.mark.parametrize(
    ("interfaces", "reason"),
    [
        ({"eth0": (0, 2_000_000), "eth1": (10, 20)}, "the counters of eth0 were reset"),
        ({"eth7": (1, 1)}, "every device was replaced between two reads"),
    ],
)
def test_a_rate_that_cannot_be_known_is_not_zero(
    host: HostMonitor, source: RecordedPsutil, interfaces: dict[str, tuple[int, int]], reason: str
) -> None:
    host.read(1000.0)
    source.interfaces = interfaces
    sent = by_metric(host.read(1001.0))["network_sent_bytes_per_s"]
    assert (sent.value, sent.unavailable) == (None, reason)


def test_two_reads_at_one_time_have_no_rate(host: HostMonitor) -> None:
    host.read(1000.0)
    found = by_metric(host.read(1000.0))
    assert found["disk_read_bytes_per_s"].unavailable == "no time passed between two reads"
    assert found["cpu_percent"].unavailable == "the processor time counters did not move between two reads"


def test_a_processor_taken_away_makes_one_read_unavailable(host: HostMonitor, source: RecordedPsutil) -> None:
    host.read(1000.0)
    source.cpu = source.cpu[:1]
    reason = "the number of processors changed from 2 to 1"
    assert by_metric(host.read(1001.0))["cpu_percent"].unavailable == reason
    source.cpu = [Cpu(101, 50, 801, 40, 10, 90)]
    assert by_metric(host.read(1002.0))["cpu_percent"].value == 50.0


def test_a_time_counter_that_steps_back_counts_as_still(host: HostMonitor, source: RecordedPsutil) -> None:
    source.cpu = [Cpu(100, 50, 800, 40, 10, 0)]
    host.read(1000.0)
    source.cpu = [Cpu(103, 50, 801, 39, 10, 0)]
    assert by_metric(host.read(1001.0))["cpu_percent"].value == 75.0


def test_the_reason_of_an_unavailable_part_is_its_message_alone(
    host: HostMonitor, source: RecordedPsutil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MonitorUnavailable("load is not known here")

    monkeypatch.setattr(source, "getloadavg", fail)
    assert by_metric(host.read(1000.0))["load_1m"].unavailable == "load is not known here"


def test_the_real_psutil_gives_values_in_their_ranges() -> None:
    host = HostMonitor.from_environment({})
    host.open()
    first = by_metric(host.read(1000.0))
    host.close()
    assert 0 < first["memory_percent"].value <= 100
    assert 0 < first["memory_used_bytes"].value < psutil.virtual_memory().total
    assert first["load_1m"].value >= 0
    assert "cpu_percent" not in first
