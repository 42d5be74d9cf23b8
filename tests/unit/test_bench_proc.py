from pathlib import Path

import pytest

from benchmarks.generator import proc
from benchmarks.generator.core import CoreTimes, others_share
from benchmarks.generator.results import cpu_model


def add_process(root: Path, pid: int, parent: int, *, name: str = "python", ticks: int = 0) -> Path:
    folder = root / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    middle = " ".join(["0"] * 9)
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} {middle} {ticks} {ticks} 0 0\n")
    return folder


def test_a_tree_is_a_process_and_its_descendants(tmp_path: Path) -> None:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1)):
        add_process(tmp_path, pid, parent, name="odd) name (")
    assert proc.tree(10, tmp_path) == [10, 11, 12]


def test_cpu_time_is_that_of_all_threads_to_the_nanosecond(tmp_path: Path) -> None:
    folder = add_process(tmp_path, 10, 1)
    (folder / "task" / "10" / "schedstat").write_text("1500000000 7 3\n")
    (folder / "task" / "11").mkdir()
    (folder / "task" / "11" / "schedstat").write_text("250000000 7 3\n")
    assert proc.cpu_s([10], tmp_path) == pytest.approx(1.75)
    assert proc.waited_s([10], tmp_path) == pytest.approx(14e-9)


def test_cpu_time_in_ticks_where_the_kernel_keeps_nothing_finer(tmp_path: Path) -> None:
    add_process(tmp_path, 10, 1, ticks=proc.TICKS_PER_S)
    assert proc.cpu_s([10], tmp_path) == pytest.approx(2.0)


def test_a_process_that_has_gone_counts_nothing(tmp_path: Path) -> None:
    assert proc.cpu_s([99], tmp_path) == 0
    assert proc.memory_bytes([99], tmp_path) == 0


def test_memory_is_what_the_process_has_alone(tmp_path: Path) -> None:
    folder = add_process(tmp_path, 10, 1)
    (folder / "status").write_text("Name:\tpython\nVmRSS:\t    900 kB\n")
    assert proc.memory_bytes([10], tmp_path) == 900 * 1024
    (folder / "smaps_rollup").write_text(
        "0040-7ff 0000 00:00 0    [rollup]\nRss: 900 kB\nPrivate_Clean: 100 kB\nPrivate_Dirty: 300 kB\n"
    )
    assert proc.memory_bytes([10], tmp_path) == 400 * 1024


def test_open_files_are_counted(tmp_path: Path) -> None:
    folder = add_process(tmp_path, 10, 1)
    for descriptor in range(7):
        (folder / "fd").mkdir(exist_ok=True)
        (folder / "fd" / str(descriptor)).touch()
    assert proc.files(10, tmp_path) == 7


def test_what_the_machine_has_sent(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "netstat").write_text(
        "TcpExt: SyncookiesSent OutOctets\nTcpExt: 1 2\n"
        "IpExt: InNoRoutes InOctets OutOctets InMcastOctets\nIpExt: 3 40 50 6\n"
    )
    assert proc.sent_bytes(tmp_path) == 50


def test_the_share_of_others_is_what_the_core_did_beside_the_tool(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    ticks = proc.TICKS_PER_S
    stat.write_text(
        f"cpu 9 9 9 9 9 9 9 9 9 9\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 {ticks} 0 {ticks} 5 5 0 0 0 0 0\n"
    )
    before = CoreTimes.read(1, stat)
    assert before == CoreTimes(busy_s=2.0, stolen_s=0.0)
    after = CoreTimes(busy_s=3.0, stolen_s=0.1)
    assert others_share(before, after, own_s=0.8, waited_s=9.0, seconds=2.0) == pytest.approx(0.15)
    # A core that only seems to be busy because ticks fall into short bursts: nobody had to wait.
    assert others_share(before, after, own_s=0.8, waited_s=0.02, seconds=2.0) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="core 7"):
        CoreTimes.read(7, stat)


def test_the_processor_is_named_as_it_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: A Processor @ 2 GHz\n")
    assert cpu_model(path) == "A Processor @ 2 GHz"
