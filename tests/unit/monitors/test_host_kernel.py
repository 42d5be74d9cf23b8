import contextlib
import socket
from pathlib import Path

import pytest

from perfload.monitors.base import Measurement
from perfload.monitors.host.memory import DirtyMemory, Paging
from perfload.monitors.host.network import Listeners, Retransmissions
from perfload.monitors.host.parts import Part, PartReader
from perfload.monitors.host.pressure import Pressure
from perfload.monitors.host.processors import Scheduler
from perfload.monitors.host.socket_diag import count_by_state
from perfload.monitors.host.sockets import Conntrack, Files, Sockets

STAT = """cpu  1167515 83110 257843 903889 9289 0 56561 824 0 0
cpu0 527209 42700 133331 504002 3638 0 25973 429 0 0
intr {interrupts} 0 0 7 9 0
ctxt {switches}
btime 1795260967
procs_running 3
procs_blocked 1
softirq 164355770 0 2314185
"""

PRESSURE = """some avg10=2.79 avg60=2.92 avg300=1.26 total={some}
full avg10=0.00 avg60=0.00 avg300=0.00 total={full}
"""

SNMP = """Ip: Forwarding DefaultTTL InReceives
Ip: 2 64 171814682
Tcp: RtoAlgorithm CurrEstab InSegs OutSegs RetransSegs InErrs
Tcp: 1 3 900 {sent} {again} 0
"""

NETSTAT = """TcpExt: SyncookiesSent ListenOverflows ListenDrops
TcpExt: 0 {overflows} {drops}
IpExt: InNoRoutes
IpExt: 0
"""


class Proc:
    """A folder that looks like /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def values(found: list[Measurement]) -> dict[str, float | str | None]:
    return {each.metric: each.unavailable if each.value is None else each.value for each in found}


def twice(part: Part, proc: Proc, name: str, first: str, second: str) -> dict[str, float | str | None]:
    """Return the values of a second read ten seconds after the first."""
    reader = PartReader(part)
    proc.write(name, first)
    reader.measure(1000.0)
    proc.write(name, second)
    return values(reader.measure(1010.0))


def test_the_scheduler(proc: Proc) -> None:
    found = twice(
        Scheduler(proc.path),
        proc,
        "stat",
        STAT.format(interrupts=100, switches=1000),
        STAT.format(interrupts=5100, switches=3000),
    )
    assert found == {
        "processes_running": 3.0,
        "processes_blocked": 1.0,
        "context_switches_per_s": 200.0,
        "interrupts_per_s": 500.0,
    }


def test_the_first_read_of_the_scheduler_has_its_queues(proc: Proc) -> None:
    proc.write("stat", STAT.format(interrupts=100, switches=1000))
    assert Scheduler(proc.path).read(1000.0) == {"processes_running": 3.0, "processes_blocked": 1.0}


def test_pressure_is_the_share_of_the_interval(proc: Proc) -> None:
    found = twice(
        Pressure(proc.path, "memory"),
        proc,
        "pressure/memory",
        PRESSURE.format(some=1_000_000, full=500_000),
        PRESSURE.format(some=3_500_000, full=700_000),
    )
    assert found == {"memory_pressure_some_percent": 25.0, "memory_pressure_full_percent": 2.0}


def test_pressure_on_the_processors_has_no_full(proc: Proc) -> None:
    first, second = PRESSURE.format(some=0, full=0), PRESSURE.format(some=10_020_000, full=0)
    # A total that is a little ahead of the tick is no more than all of the time.
    found = twice(Pressure(proc.path, "cpu"), proc, "pressure/cpu", first, second)
    assert found == {"cpu_pressure_some_percent": 100.0}


def test_a_kernel_without_pressure_says_so_once(proc: Proc) -> None:
    reader = PartReader(Pressure(proc.path, "io"))
    reason = f"this host has no {proc.path}/pressure/io"
    assert reader.measure(1000.0) == [
        Measurement("io_pressure_some_percent", "%", None, reason),
        Measurement("io_pressure_full_percent", "%", None, reason),
    ]
    assert reader.measure(1001.0) == []


def test_counters_that_ran_backwards_have_no_rate(proc: Proc) -> None:
    first, second = PRESSURE.format(some=10, full=10), PRESSURE.format(some=9, full=9)
    found = twice(Pressure(proc.path, "io"), proc, "pressure/io", first, second)
    assert set(found.values()) == {"the counters of pressure were reset"}


def test_paging(proc: Proc) -> None:
    found = twice(
        Paging(proc.path, page_bytes=4096),
        proc,
        "vmstat",
        "pgpgin 5\npswpin 10\npswpout 20\npgmajfault 100\n",
        "pgpgin 9\npswpin 110\npswpout 20\npgmajfault 150\n",
    )
    assert found == {
        "swap_in_bytes_per_s": 40_960.0,
        "swap_out_bytes_per_s": 0.0,
        "major_page_faults_per_s": 5.0,
    }


def test_dirty_memory(proc: Proc) -> None:
    proc.write("meminfo", "MemTotal:       24684092 kB\nDirty:    300 kB\nWriteback:   20 kB\n")
    assert DirtyMemory(proc.path).read(1000.0) == {"memory_dirty_bytes": 320 * 1024}


def test_retransmissions(proc: Proc) -> None:
    first, second = SNMP.format(sent=1000, again=10), SNMP.format(sent=2000, again=60)
    found = twice(Retransmissions(proc.path), proc, "net/snmp", first, second)
    assert found == {"tcp_retransmits_per_s": 5.0, "tcp_retransmits_percent": 5.0}


def test_where_nothing_was_sent_there_is_no_share(proc: Proc) -> None:
    text = SNMP.format(sent=1000, again=10)
    assert twice(Retransmissions(proc.path), proc, "net/snmp", text, text) == {"tcp_retransmits_per_s": 0.0}


def test_a_file_without_the_protocol_is_unavailable(proc: Proc) -> None:
    found = twice(Retransmissions(proc.path), proc, "net/snmp", "Ip: A\nIp: 1\n", "")
    assert set(found.values()) == {f"{proc.path}/net/snmp has no counters of Tcp"}


def test_connections_turned_away(proc: Proc) -> None:
    first, second = NETSTAT.format(overflows=1, drops=2), NETSTAT.format(overflows=31, drops=42)
    found = twice(Listeners(proc.path), proc, "net/netstat", first, second)
    assert found == {"tcp_listen_overflows_per_s": 3.0, "tcp_listen_drops_per_s": 4.0}


def test_open_files(proc: Proc) -> None:
    proc.write("sys/fs/file-nr", "712\t12\t1000\n")
    assert Files(proc.path).read(1000.0) == {"open_files": 700, "open_files_percent": 70.0}


def test_tracked_connections(proc: Proc) -> None:
    proc.write("sys/net/netfilter/nf_conntrack_count", "500\n")
    proc.write("sys/net/netfilter/nf_conntrack_max", "2000\n")
    assert Conntrack(proc.path).read(1000.0) == {"conntrack_entries": 500, "conntrack_percent": 25.0}


COUNTED = {1: 20, 2: 1, 3: 2, 5: 4, 8: 5, 10: 6, 11: 8, 12: 3}

BY_STATE = {
    "tcp_sockets[established]": 20,
    "tcp_sockets[syn_sent]": 1,
    "tcp_sockets[syn_recv]": 5,
    "tcp_sockets[close_wait]": 5,
    "tcp_sockets[listen]": 6,
    "tcp_sockets[closing]": 12,
}


def with_sockets(proc: Proc, *, in_use: int, error: OSError | None = None) -> Sockets:
    proc.write(
        "net/sockstat",
        f"sockets: used 17\nTCP: inuse {in_use} orphan 2 tw 9000 alloc 9 mem 278\nUDP: inuse 0\n",
    )
    proc.write("net/sockstat6", "TCP6: inuse 4\nUDP6: inuse 0\n")

    def count(states: int) -> dict[int, int]:
        # Those that wait are counted by the totals, and may be very many.
        assert not states & (1 << 6)
        if error is not None:
            raise error
        return {state: number for state, number in COUNTED.items() if states & (1 << state)}

    return Sockets(proc.path, count_by_state=count)


def test_few_sockets_are_counted_by_state_at_every_read(proc: Proc) -> None:
    sockets = with_sockets(proc, in_use=46)
    totals = {"tcp_sockets_in_use": 50, "tcp_sockets_orphaned": 2, "tcp_sockets_time_wait": 9000}
    assert sockets.read(1000.0) == totals | BY_STATE
    assert sockets.read(1001.0) == totals | BY_STATE


def test_many_sockets_are_counted_by_state_every_ten_seconds(proc: Proc) -> None:
    sockets = with_sockets(proc, in_use=5_000)
    has_states = ["tcp_sockets[listen]" in sockets.read(1000.0 + second) for second in range(21)]
    assert [second for second in range(21) if has_states[second]] == [0, 10, 20]


@pytest.mark.parametrize(
    ("in_use", "error", "reason"),
    [
        (60_000, None, "not counted by state: more than 50000 sockets"),
        (5, PermissionError(1, "Operation not permitted"), "not counted by state: Operation not permitted"),
        (5, TimeoutError(), "not counted by state: TimeoutError"),
    ],
)
def test_sockets_that_are_not_counted_say_why(
    proc: Proc, in_use: int, error: OSError | None, reason: str
) -> None:
    found = values(PartReader(with_sockets(proc, in_use=in_use, error=error)).measure(1000.0))
    assert found["tcp_sockets_in_use"] == in_use + 4
    assert {found[metric] for metric in BY_STATE} == {reason}


def test_a_kernel_without_ip_version_6_has_its_sockets_too(proc: Proc) -> None:
    sockets = with_sockets(proc, in_use=3)
    (proc.path / "net/sockstat6").unlink()
    assert sockets.read(1000.0)["tcp_sockets_in_use"] == 3


def test_the_kernel_counts_real_sockets() -> None:
    listen, established = 10, 1
    before = count_by_state(0xFFF)
    with contextlib.ExitStack() as held:
        for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            server = held.enter_context(socket.create_server((host, 0), family=family))
            for _ in range(300):
                held.enter_context(socket.create_connection(server.getsockname()[:2]))
                held.enter_context(server.accept()[0])
        found = count_by_state(0xFFF)
        only_listening = count_by_state(1 << listen)
    # Others come and go meanwhile.
    assert found[established] - before[established] == pytest.approx(1200, abs=50)
    assert set(only_listening) == {listen}
    assert only_listening[listen] == pytest.approx(found[listen], abs=5)
