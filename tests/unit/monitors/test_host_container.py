from collections.abc import Callable
from pathlib import Path

import pytest

from perfload.monitors.host.container import Container

MIB = 2**20
Write = Callable[[dict[str, str]], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def version_2(usage_us: int, periods: int, throttled: int, throttled_us: int, kills: int) -> dict[str, str]:
    stat = {
        "usage_usec": usage_us,
        "user_usec": 1,
        "nr_periods": periods,
        "nr_throttled": throttled,
        "throttled_usec": throttled_us,
    }
    files = {
        "cgroup.controllers": "cpu memory pids",
        "cgroup.type": "domain",
        "cpu.max": "150000 100000",
        "cpu.stat": "".join(f"{name} {value}\n" for name, value in stat.items()),
        "memory.max": str(512 * MIB),
        "memory.current": str(300 * MIB),
        "memory.stat": f"anon 5\ninactive_file {44 * MIB}\n",
        "memory.events": f"low 0\nmax 9\noom 3\noom_kill {kills}\n",
        "pids.current": "30\n",
        "pids.max": "120\n",
        **{
            f"{name}.pressure": f"some avg10=0.00 total={usage_us // 10}\nfull avg10=0.00 total=0\n"
            for name in ("cpu", "memory", "io")
        },
    }
    return {"proc/self/cgroup": "0::/\n"} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}


GAUGES_2 = {
    "in_container": 1.0,
    "container_cpu_limit_cores": 1.5,
    "container_memory_bytes": 256 * MIB,
    "container_memory_limit_bytes": 512 * MIB,
    "container_memory_percent": 50.0,
    "container_processes": 30,
    "container_processes_percent": 25.0,
}


def test_a_container_is_held_against_its_limits(write: Write, tmp_path: Path) -> None:
    write(version_2(5_000_000, 100, 10, 1_000_000, 1))
    container = Container(tmp_path)
    assert container.read(1000.0) == GAUGES_2
    write(version_2(17_000_000, 200, 35, 3_000_000, 3))
    assert container.read(1010.0) == GAUGES_2 | {
        "container_cpu_cores": pytest.approx(1.2),
        "container_cpu_percent": pytest.approx(80.0),
        "container_throttled_percent": pytest.approx(25.0),
        "container_throttled_ms_per_s": pytest.approx(200.0),
        "container_oom_kills": 2,
        "container_cpu_pressure_some_percent": pytest.approx(12.0),
        "container_memory_pressure_some_percent": pytest.approx(12.0),
        "container_io_pressure_some_percent": pytest.approx(12.0),
    }


def test_a_container_that_rested_was_not_throttled(write: Write, tmp_path: Path) -> None:
    write(version_2(5_000_000, 100, 10, 1_000_000, 0))
    container = Container(tmp_path)
    container.read(1000.0)
    found = container.read(1010.0)
    assert (found["container_throttled_percent"], found["container_cpu_percent"]) == (0.0, 0.0)


def test_the_tightest_limit_above_holds(write: Write, tmp_path: Path) -> None:
    write(version_2(5_000_000, 100, 10, 1_000_000, 0))
    write(
        {
            "proc/self/cgroup": "0::/kubepods/pod1\n",
            "sys/fs/cgroup/kubepods/cpu.max": "50000 100000",
            "sys/fs/cgroup/kubepods/pod1/cpu.max": "max 100000",
            "sys/fs/cgroup/kubepods/pod1/memory.max": "max",
            "sys/fs/cgroup/kubepods/pod1/memory.current": "7",
        }
    )
    found = Container(tmp_path).read(1000.0)
    assert found["container_cpu_limit_cores"] == 0.5
    assert found["container_memory_limit_bytes"] == 512 * MIB


def test_a_container_without_limits_has_no_shares(write: Write, tmp_path: Path) -> None:
    write(version_2(5_000_000, 0, 0, 0, 0))
    write({f"sys/fs/cgroup/{name}": "max\n" for name in ("cpu.max", "memory.max", "pids.max")})
    container = Container(tmp_path)
    assert container.read(1000.0) == {
        "in_container": 1.0,
        "container_memory_bytes": 256 * MIB,
        "container_processes": 30,
    }
    write({"sys/fs/cgroup/cpu.stat": "usage_usec 10000000\n"})
    found = container.read(1010.0)
    assert found["container_cpu_cores"] == pytest.approx(0.5)
    assert "container_cpu_percent" not in found


def test_version_1(write: Write, tmp_path: Path) -> None:
    base = "sys/fs/cgroup"
    write(
        {
            ".dockerenv": "",
            # The names are those outside: the container sees its own group as the root.
            "proc/self/cgroup": "4:memory:/docker/5f\n3:cpu,cpuacct:/docker/5f\n2:pids:/docker/5f\n",
            f"{base}/cpu/cpu.cfs_quota_us": "200000",
            f"{base}/cpu/cpu.cfs_period_us": "100000",
            f"{base}/cpu/cpu.stat": "nr_periods 10\nnr_throttled 0\nthrottled_time 0\n",
            f"{base}/cpuacct/cpuacct.usage": "1000000000",
            f"{base}/memory/memory.limit_in_bytes": "9223372036854771712",
            f"{base}/memory/memory.usage_in_bytes": str(100 * MIB),
            f"{base}/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {20 * MIB}\n",
            f"{base}/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
            f"{base}/pids/pids.current": "5",
            f"{base}/pids/pids.max": "max",
        }
    )
    container = Container(tmp_path)
    gauges = {
        "in_container": 1.0,
        "container_cpu_limit_cores": 2.0,
        "container_memory_bytes": 80 * MIB,
        "container_processes": 5,
    }
    assert container.read(1000.0) == gauges
    write(
        {
            f"{base}/cpu/cpu.stat": "nr_periods 30\nnr_throttled 5\nthrottled_time 500000000\n",
            f"{base}/cpuacct/cpuacct.usage": "11000000000",
        }
    )
    assert container.read(1010.0) == gauges | {
        "container_cpu_cores": pytest.approx(1.0),
        "container_cpu_percent": pytest.approx(50.0),
        "container_throttled_percent": pytest.approx(25.0),
        "container_throttled_ms_per_s": pytest.approx(50.0),
        "container_oom_kills": 0,
    }


def test_a_plain_host_says_only_that_it_is_one(write: Write, tmp_path: Path) -> None:
    write(
        {
            "proc/self/cgroup": "0::/user.slice/session-4.scope\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory",
            "sys/fs/cgroup/user.slice/session-4.scope/cpu.max": "max 100000",
            "sys/fs/cgroup/user.slice/session-4.scope/memory.current": "77",
        }
    )
    assert Container(tmp_path).read(1000.0) == {"in_container": 0.0}


def test_a_limit_without_a_container_counts_too(write: Write, tmp_path: Path) -> None:
    write(
        {
            "proc/self/cgroup": "0::/system.slice/load.service\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory",
            "sys/fs/cgroup/system.slice/load.service/cpu.max": "100000 100000",
        }
    )
    found = Container(tmp_path).read(1000.0)
    assert found == {"in_container": 0.0, "container_cpu_limit_cores": 1.0}


def test_a_host_without_control_groups(tmp_path: Path) -> None:
    assert Container(tmp_path).read(1000.0) == {"in_container": 0.0}
