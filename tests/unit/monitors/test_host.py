from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

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
        self.memory = SimpleNamespace(
            total=16 * GIB, available=4 * GIB, used=11 * GIB, percent=68.8, cached=3 * GIB
        )
        self.interfaces = {
            "lo": traffic(5_000, 5_000),
            "eth0": traffic(1_000_000, 2_000_000, packets=(50, 90), errors=1, drops=2),
        }
        self.interfaces["eth1"] = traffic(10, 20)
        self.disks = {"sda": disk(500_000, 900_000), "sda1": disk(1, 1), "dm-0": disk(1, 1)}

    def advance(self) -> None:
        # Processor 0 works 6 s + 1 s of 10 s (its guest time is in `user` already), processor 1 for 1 s.
        self.cpu = [Cpu(106, 51, 802, 41, 10, 95), Cpu(100, 50, 809, 40, 11, 0)]
        self.interfaces = {
            "lo": traffic(9_000_000, 9_000_000),
            "eth0": traffic(1_050_000, 2_400_000, packets=(150, 290), errors=6, drops=12),
            "eth1": traffic(60, 20),
        }
        self.disks = {
            "sda": disk(520_000, 1_000_000, reads=30, writes=10, wait_ms=200, busy_ms=2500),
            "sda1": disk(10**9, 10**9),
            "dm-0": disk(10**9, 10**9),
        }

    def cpu_times(self, percpu: bool) -> list[Cpu]:
        assert percpu
        return self.cpu

    def virtual_memory(self) -> SimpleNamespace:
        return self.memory

    def swap_memory(self) -> SimpleNamespace:
        return self.swap

    def getloadavg(self) -> tuple[float, float, float]:
        return (1.25, 2.5, 5.0)

    def net_io_counters(self, pernic: bool, nowrap: bool) -> dict[str, SimpleNamespace]:
        assert pernic
        assert not nowrap
        return self.interfaces

    def disk_io_counters(self, perdisk: bool, nowrap: bool) -> dict[str, SimpleNamespace]:
        assert perdisk
        assert not nowrap
        return self.disks


def traffic(
    sent: int, received: int, *, packets: tuple[int, int] = (0, 0), errors: int = 0, drops: int = 0
) -> SimpleNamespace:
    return SimpleNamespace(
        bytes_sent=sent,
        bytes_recv=received,
        packets_sent=packets[0],
        packets_recv=packets[1],
        errin=errors,
        errout=0,
        dropin=0,
        dropout=drops,
    )


def disk(
    read: int, written: int, *, reads: int = 0, writes: int = 0, wait_ms: int = 0, busy_ms: int = 0
) -> SimpleNamespace:
    return SimpleNamespace(
        read_bytes=read,
        write_bytes=written,
        read_count=reads,
        write_count=writes,
        read_time=wait_ms // 4,
        write_time=wait_ms - wait_ms // 4,
        busy_time=busy_ms,
    )


@pytest.fixture
def source() -> RecordedPsutil:
    return RecordedPsutil()


@pytest.fixture
def host(source: RecordedPsutil, tmp_path: Path) -> HostMonitor:
    """Return a monitor of a host without the files of Linux."""
    monitor = HostMonitor(psutil=source, root=tmp_path)
    monitor.open()
    return monitor


def by_metric(measurements: list[Measurement]) -> dict[str, Measurement]:
    found = {measurement.metric: measurement for measurement in measurements}
    assert len(found) == len(measurements)
    return found


def second_read(host: HostMonitor, source: RecordedPsutil) -> dict[str, Measurement]:
    host.read(1000.0)
    source.advance()
    return by_metric(host.read(1010.0))


GAUGES = [
    Measurement("load_1m", "processes", 1.25),
    Measurement("load_5m", "processes", 2.5),
    Measurement("load_15m", "processes", 5.0),
    Measurement("memory_percent", "%", 75.0),
    Measurement("memory_used_bytes", "bytes", 12 * GIB),
    Measurement("memory_available_bytes", "bytes", 4 * GIB),
    Measurement("memory_cached_bytes", "bytes", 3 * GIB),
    Measurement("swap_percent", "%", 25.0),
    Measurement("swap_used_bytes", "bytes", GIB),
]


def test_the_first_read_has_only_what_needs_no_difference(host: HostMonitor) -> None:
    assert host.read(1000.0) == [Measurement("cpu_count", "processors", 2), *GAUGES]


def test_the_second_read_has_every_metric_with_exact_values(
    host: HostMonitor, source: RecordedPsutil
) -> None:
    host.read(1000.0)
    source.advance()
    assert host.read(1010.0) == [
        Measurement("cpu_percent", "%", 40.0),
        Measurement("cpu_percent_max_core", "%", 70.0),
        Measurement("cpu_user_percent", "%", 30.0),
        Measurement("cpu_system_percent", "%", 5.0),
        Measurement("cpu_iowait_percent", "%", 5.0),
        Measurement("cpu_steal_percent", "%", 5.0),
        Measurement("cpu_core_percent[0]", "%", 70.0),
        Measurement("cpu_core_percent[1]", "%", 10.0),
        Measurement("cpu_count", "processors", 2),
        *GAUGES,
        Measurement("network_sent_bytes_per_s", "bytes/s", 5_005.0),
        Measurement("network_received_bytes_per_s", "bytes/s", 40_000.0),
        Measurement("network_sent_packets_per_s", "/s", 10.0),
        Measurement("network_received_packets_per_s", "/s", 20.0),
        Measurement("network_errors_per_s", "/s", 0.5),
        Measurement("network_drops_per_s", "/s", 1.0),
        Measurement("disk_read_bytes_per_s", "bytes/s", 2_000.0),
        Measurement("disk_written_bytes_per_s", "bytes/s", 10_000.0),
        Measurement("disk_reads_per_s", "/s", 3.0),
        Measurement("disk_writes_per_s", "/s", 1.0),
        Measurement("disk_wait_ms", "ms", 5.0),
        Measurement("disk_busy_percent_max", "%", 25.0),
        Measurement("disk_busy_percent[sda]", "%", 25.0),
    ]


def test_rates_are_per_second_since_the_read_before(host: HostMonitor, source: RecordedPsutil) -> None:
    second_read(host, source)
    source.disks["sda"] = disk(521_000, 1_000_000, reads=30, writes=10, wait_ms=200, busy_ms=2500)
    third = by_metric(host.read(1010.5))
    assert third["disk_read_bytes_per_s"].value == 2_000.0
    assert third["disk_written_bytes_per_s"].value == 0.0
    # Nothing was read or written by the operation, so nothing waited.
    assert "disk_wait_ms" not in third


def test_a_part_that_fails_says_why_and_leaves_the_others_alone(
    host: HostMonitor, source: RecordedPsutil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**options: bool) -> None:
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
    host.read(1000.0)
    source.disks = {}
    missing = by_metric(host.read(1005.0))["disk_read_bytes_per_s"]
    assert missing.unavailable == "this host has no disk counters"
    source.disks = {"sda": disk(600_000, 900_000)}
    assert by_metric(host.read(1010.0))["disk_read_bytes_per_s"].value == 10_000.0


def test_what_a_host_does_not_have_is_said_once_a_minute(host: HostMonitor, source: RecordedPsutil) -> None:
    source.swap = SimpleNamespace(total=0, used=0)
    reads = [by_metric(host.read(1000.0 + 30 * number)) for number in range(4)]
    reason = "this host has no swap"
    said = [read["swap_percent"].unavailable if "swap_percent" in read else "" for read in reads]
    assert said == [reason, "", reason, ""]
    assert reads[0]["swap_percent"] == Measurement("swap_percent", "%", None, reason)
    source.swap = SimpleNamespace(total=GIB, used=0)
    assert by_metric(host.read(1121.0))["swap_percent"].value == 0.0
    source.swap = SimpleNamespace(total=0, used=0)
    assert by_metric(host.read(1122.0))["swap_percent"].unavailable == reason


def test_loopback_alone_is_no_network(host: HostMonitor, source: RecordedPsutil) -> None:
    source.interfaces = dict.fromkeys(("lo", "lo0", "Loopback Pseudo-Interface 1"), traffic(1, 1))
    reason = "this host has no network interface but loopback"
    assert by_metric(host.read(1000.0))["network_sent_bytes_per_s"].unavailable == reason


def test_an_interface_counts_from_the_second_time_it_is_seen(
    host: HostMonitor, source: RecordedPsutil
) -> None:
    host.read(1000.0)
    source.interfaces |= {
        "eth0": traffic(1_000_300, 2_000_000, packets=(50, 90), errors=1, drops=2),
        "veth9": traffic(7_000_000, 0),
    }
    assert by_metric(host.read(1001.0))["network_sent_bytes_per_s"].value == 300.0
    source.interfaces |= {"veth9": traffic(7_000_011, 0)}
    assert by_metric(host.read(1002.0))["network_sent_bytes_per_s"].value == 11.0


@pytest.mark.parametrize(
    ("interfaces", "reason"),
    [
        ({"eth0": traffic(0, 2_000_000), "eth1": traffic(10, 20)}, "the counters of eth0 were reset"),
        ({"eth7": traffic(1, 1)}, "every device was replaced between two reads"),
    ],
)
def test_a_rate_that_cannot_be_known_is_not_zero(
    host: HostMonitor, source: RecordedPsutil, interfaces: dict[str, SimpleNamespace], reason: str
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


@pytest.mark.parametrize(
    ("names", "counted"),
    [
        (["sda", "sda1", "sda2", "sdb"], ["sda", "sdb"]),
        (["nvme0n1", "nvme0n1p1", "nvme1n1"], ["nvme0n1", "nvme1n1"]),
        (["vda", "loop0", "zram0", "dm-0", "md127", "sr0"], ["vda"]),
        (["dm-0", "dm-1"], ["dm-0", "dm-1"]),
        (["disk1", "disk10"], ["disk1", "disk10"]),
        (["mmcblk0", "mmcblk0p1"], ["mmcblk0"]),
    ],
)
def test_each_disk_counts_once(
    host: HostMonitor, source: RecordedPsutil, names: list[str], counted: list[str]
) -> None:
    source.disks = dict.fromkeys(names, disk(0, 0))
    host.read(1000.0)
    source.disks = dict.fromkeys(names, disk(1000, 0))
    found = by_metric(host.read(1001.0))
    assert found["disk_read_bytes_per_s"].value == 1000.0 * len(counted)
    assert [name for name in names if f"disk_busy_percent[{name}]" in found] == counted


def test_the_busiest_disks_have_series_of_their_own(host: HostMonitor, source: RecordedPsutil) -> None:
    disks = [f"sd{letter}{second}" for letter in "abc" for second in "abcdefghij"]
    source.disks = dict.fromkeys(disks, disk(0, 0))
    host.read(1000.0)
    source.disks = {name: disk(0, 0, busy_ms=10 * number) for number, name in enumerate(disks)}
    found = by_metric(host.read(1001.0))
    shown = [metric for metric in found if metric.startswith("disk_busy_percent[")]
    assert shown == [f"disk_busy_percent[{name}]" for name in disks[10:]]
    assert found["disk_busy_percent_max"].value == 29.0


def test_only_the_first_cores_have_series_of_their_own(host: HostMonitor, source: RecordedPsutil) -> None:
    source.cpu = [Cpu(0, 0, 0, 0, 0, 0)] * 100
    host.read(1000.0)
    source.cpu = [Cpu(1, 0, 9, 0, 0, 0)] * 99 + [Cpu(9, 0, 1, 0, 0, 0)]
    found = by_metric(host.read(1010.0))
    assert sum(metric.startswith("cpu_core_percent[") for metric in found) == 64
    assert found["cpu_percent_max_core"].value == 90.0
    assert found["cpu_count"].value == 100


def test_the_real_host_gives_values_in_their_ranges() -> None:
    host = HostMonitor.from_environment({})
    host.open()
    first = by_metric(host.read(1000.0))
    host.close()
    assert 0 < first["memory_percent"].value <= 100
    assert 0 < first["memory_used_bytes"].value < psutil.virtual_memory().total
    assert first["load_1m"].value >= 0
    assert "cpu_percent" not in first
