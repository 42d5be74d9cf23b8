import contextlib
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from perfload.errors import UsageError
from perfload.monitors.base import Measurement
from perfload.monitors.processes import Choice, ProcessesMonitor, parse_choices

MIB = 2**20


class FakeProcess:
    def __init__(self, pid: int, ppid: int, name: str, *command: str) -> None:
        self.pid = pid
        self.info = {"ppid": ppid, "name": name}
        self.command = command or (name,)
        self.born_s = 50.0
        self.busy_s = 0.0
        self.switches = 0
        self.files = 10
        self.is_gone = False
        self.is_foreign = False

    def create_time(self) -> float:
        return self.born_s

    def is_running(self) -> bool:
        return not self.is_gone

    def cmdline(self) -> list[str]:
        return list(self.command)

    def oneshot(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def cpu_times(self) -> SimpleNamespace:
        if self.is_gone:
            raise psutil.NoSuchProcess(self.pid)
        return SimpleNamespace(user=self.busy_s / 2, system=self.busy_s / 2)

    def num_ctx_switches(self) -> SimpleNamespace:
        return SimpleNamespace(voluntary=self.switches, involuntary=0)

    def memory_info(self) -> SimpleNamespace:
        return SimpleNamespace(rss=100 * MIB)

    def num_threads(self) -> int:
        return 4

    def num_fds(self) -> int:
        if self.is_foreign:
            raise psutil.AccessDenied(self.pid)
        return self.files

    def rlimit(self, resource: int) -> tuple[int, int]:
        assert resource == psutil.RLIMIT_NOFILE
        return 100, 1000


class FakePsutil:
    Error, NoSuchProcess, AccessDenied = psutil.Error, psutil.NoSuchProcess, psutil.AccessDenied
    CONN_LISTEN, RLIMIT_NOFILE = psutil.CONN_LISTEN, psutil.RLIMIT_NOFILE

    def __init__(self, *processes: FakeProcess) -> None:
        self.processes = list(processes)
        self.listening: list[tuple[int, int | None]] = []

    def process_iter(self, attributes: list[str]) -> Iterator[FakeProcess]:
        assert attributes == ["ppid", "name"]
        return iter([process for process in self.processes if not process.is_gone])

    def net_connections(self, kind: str) -> list[SimpleNamespace]:
        assert kind == "tcp"
        other = SimpleNamespace(status="ESTABLISHED", laddr=SimpleNamespace(port=8000), pid=99)
        return [other] + [
            SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(port=port), pid=pid)
            for port, pid in self.listening
        ]


def watching(source: Any, *choices: str) -> ProcessesMonitor:
    monitor = ProcessesMonitor(parse_choices(choices), psutil=source, own_pid=1)
    monitor.open()
    return monitor


def values(found: list[Measurement]) -> dict[str, float | str | None]:
    return {each.metric: each.unavailable if each.value is None else each.value for each in found}


def test_a_process_and_its_children_are_added_up() -> None:
    parent, child = FakeProcess(10, 1, "gunicorn"), FakeProcess(11, 10, "python3")
    monitor = watching(FakePsutil(parent, child, FakeProcess(12, 1, "bash")), "name:gunicorn")
    gauges = [
        Measurement("process_rss_bytes[name:gunicorn]", "bytes", 200 * MIB),
        Measurement("process_threads[name:gunicorn]", "threads", 8),
        Measurement("process_open_files[name:gunicorn]", "files", 30),
        # The worse of the two: each has a limit of its own.
        Measurement("process_open_files_percent[name:gunicorn]", "%", 20.0),
    ]
    count = Measurement("process_count[name:gunicorn]", "processes", 2)
    child.files = 20
    assert monitor.read(1000.0) == [count, *gauges]
    parent.busy_s, child.busy_s = 1.0, 2.0
    parent.switches, child.switches = 30, 10
    assert monitor.read(1002.0) == [
        count,
        Measurement("process_cpu_percent[name:gunicorn]", "%", 150.0),
        Measurement("process_cpu_percent_busiest[name:gunicorn]", "%", 100.0),
        *gauges,
        Measurement("process_context_switches_per_s[name:gunicorn]", "/s", 20.0),
    ]


def test_a_process_that_goes_and_comes_back() -> None:
    first = FakeProcess(10, 1, "api")
    source = FakePsutil(first)
    monitor = watching(source, "name:api")
    monitor.read(1000.0)
    first.is_gone = True
    found = values(monitor.read(1001.0))
    assert found["process_cpu_percent[name:api]"] == "no process is name:api"
    assert found["process_count[name:api]"] == "no process is name:api"
    second = FakeProcess(20, 1, "api")
    second.busy_s = 7.0
    source.processes.append(second)
    assert values(monitor.read(1005.0))["process_count[name:api]"] == "no process is name:api"
    # It is looked for every five seconds; its first read has nothing to compare with.
    found = values(monitor.read(1006.0))
    assert found["process_count[name:api]"] == 1
    assert "process_cpu_percent[name:api]" not in found
    second.busy_s = 7.5
    assert values(monitor.read(1007.0))["process_cpu_percent[name:api]"] == 50.0


def test_a_child_that_ends_leaves_the_rest() -> None:
    parent, child = FakeProcess(10, 1, "api"), FakeProcess(11, 10, "api-worker")
    monitor = watching(FakePsutil(parent, child), "pid:10")
    monitor.read(1000.0)
    child.is_gone = True
    parent.busy_s = 0.25
    found = values(monitor.read(1001.0))
    assert (found["process_count[pid:10]"], found["process_cpu_percent[pid:10]"]) == (1, 25.0)


@pytest.mark.parametrize(
    ("command", "is_it"),
    [
        (("/usr/bin/uvicorn",), False),
        (("python3", "-m", "uvicorn", "app:app"), True),
        (("python3", "-u", "/venv/bin/uvicorn", "app:app"), True),
        (("python3", "uvicorn.py"), True),
        (("python3", "-X", "dev", "-m", "http.server"), False),
        (("python3", "-c", "import uvicorn"), False),
        (("python3", "watch.py", "uvicorn"), False),
    ],
)
def test_a_program_of_an_interpreter_has_its_own_name(command: tuple[str, ...], is_it: bool) -> None:
    monitor = watching(FakePsutil(FakeProcess(10, 1, "python3", *command)), "name:uvicorn")
    found = values(monitor.read(1000.0))["process_count[name:uvicorn]"]
    assert found == (1 if is_it else "no process is name:uvicorn")


def test_an_editor_of_the_file_is_not_the_program() -> None:
    monitor = watching(FakePsutil(FakeProcess(10, 1, "vim", "vim", "uvicorn")), "name:uvicorn")
    assert values(monitor.read(1000.0))["process_count[name:uvicorn]"] == "no process is name:uvicorn"


def test_who_listens_on_a_port() -> None:
    source = FakePsutil(FakeProcess(10, 1, "api"), FakeProcess(11, 10, "api"), FakeProcess(12, 1, "other"))
    source.listening = [(8000, 10), (9000, 12)]
    assert values(watching(source, "port:8000").read(1000.0))["process_count[port:8000]"] == 2


def test_a_port_of_another_user_says_which_right_is_missing() -> None:
    source = FakePsutil(FakeProcess(10, 1, "api"))
    source.listening = [(8000, None)]
    reason = "the process that listens on port 8000 belongs to somebody else; run as the same user or as root"
    assert values(watching(source, "port:8000").read(1000.0))["process_count[port:8000]"] == reason


def test_files_that_may_not_be_counted_leave_the_other_values() -> None:
    process = FakeProcess(10, 1, "api")
    process.is_foreign = True
    found = values(watching(FakePsutil(process), "pid:10").read(1000.0))
    assert found["process_rss_bytes[pid:10]"] == 100 * MIB
    reason = "process 10: its open files may not be counted; run as the same user or as root"
    assert found["process_open_files[pid:10]"] == reason


def test_choices_are_read_from_the_environment() -> None:
    choices = parse_choices(["name:uvicorn", " pid:4711", "port: 8000", "name:uvicorn", "name:a:b"])
    assert choices == (
        Choice("name", "uvicorn"),
        Choice("pid", "4711"),
        Choice("port", "8000"),
        Choice("name", "a:b"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "uvicorn",
        "name:",
        "pid:x",
        "pid:0",
        "pid:-1",
        "port:70000",
        "port:٣",
        "user:root",
        "name:" + "x" * 101,
    ],
)
def test_a_choice_of_nothing_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"processes to watch: .* chooses none\n  write name:uvicorn, pid"):
        parse_choices([text])


def test_too_many_choices_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="21 choices"):
        parse_choices([f"pid:{number}" for number in range(1, 22)])


def test_real_processes() -> None:
    script = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0)); print(server.getsockname()[1], flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        settings = {"PERFLOAD_MONITOR_PROCESSES": f"port:{port},pid:{child.pid}, "}
        monitor = ProcessesMonitor.from_environment(settings)
        monitor.open()
        monitor.read(1000.0)
        found = values(monitor.read(1001.0))
        for label in (f"port:{port}", f"pid:{child.pid}"):
            assert found[f"process_count[{label}]"] == 1
            assert MIB < found[f"process_rss_bytes[{label}]"] < 200 * MIB
            assert found[f"process_open_files[{label}]"] >= 4
            assert found[f"process_cpu_percent[{label}]"] >= 0
        assert child.stdin is not None
        child.stdin.close()
        child.wait(10)
        reason = f"no process is port:{port}"
        assert values(monitor.read(1002.0))[f"process_count[port:{port}]"] == reason
