import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from perfload.errors import ExitCode, RecordError, UsageError
from perfload.model import Reading
from perfload.monitors.process import SamplerProcess
from perfload.readings import decode_reading

pytestmark = pytest.mark.integration

ENOUGH_S = 10.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll what another process does to the file system, of which it sends no event."""
    deadline_s = time.monotonic() + ENOUGH_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {ENOUGH_S:g} s for {what}"
        time.sleep(0.01)


def wait_for_lines(out: Path, count: int = 1) -> None:
    wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") >= count, f"{count} lines in {out}")


def readings_in(out: Path) -> list[Reading]:
    return [decode_reading(line) for line in out.read_text().splitlines()]


def ends_within(pid: int, seconds: float) -> bool:
    """Wait for the end of any process, child or not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder / "readings.jsonl"


@pytest.fixture
def sampler(out: Path) -> Iterator[SamplerProcess]:
    process = SamplerProcess.start(out, node="db-1", interval_s=0.1)
    yield process
    process.stop()


def test_readings_of_a_real_host(sampler: SamplerProcess, out: Path) -> None:
    started_at_s = time.time()
    wait_for_lines(out, 300)
    assert sampler.is_alive()
    assert sampler.stop() == 0
    assert not sampler.is_alive()
    readings = readings_in(out)
    assert {(reading.node, reading.source) for reading in readings} == {("db-1", "host")}
    memory = [reading for reading in readings if reading.metric == "memory_percent"]
    assert len(memory) >= 3
    for reading in memory:
        assert reading.value is not None
        assert 0 < reading.value <= 100
        assert reading.unit == "%"
        assert abs(reading.at_s - started_at_s) < ENOUGH_S
    cpu = [
        reading.value for reading in readings if reading.metric == "cpu_percent" and not reading.unavailable
    ]
    assert all(value is not None and 0 <= value <= 100 for value in cpu)
    assert not sampler.log.exists()


def test_ends_at_once_when_its_input_ends(sampler: SamplerProcess, out: Path) -> None:
    wait_for_lines(out)
    before_s = time.monotonic()
    assert sampler.stop() == 0
    assert time.monotonic() - before_s < 1
    assert sampler.stop() == 0


def test_ends_at_once_on_sigterm(sampler: SamplerProcess, out: Path) -> None:
    wait_for_lines(out)
    os.kill(sampler.pid, signal.SIGTERM)
    assert ends_within(sampler.pid, 1)
    assert sampler.stop() == 0


def test_ctrl_c_is_left_to_the_load_test(sampler: SamplerProcess, out: Path) -> None:
    wait_for_lines(out)
    os.kill(sampler.pid, signal.SIGINT)
    wait_for_lines(out, len(readings_in(out)) + 20)
    assert sampler.stop() == 0


def test_what_it_has_to_say_goes_to_its_log_and_not_to_the_terminal(out: Path) -> None:
    out.mkdir()
    sampler = SamplerProcess.start(out, node="n", interval_s=0.1)
    wait_until(lambda: sampler.log.read_text().count("\n") == 1, "a message in the log")
    assert sampler.stop() == 0
    lost = "what comes in is lost until it works"
    said = f"perfload sampler: cannot write to {out}: Is a directory; {lost}\n"
    assert sampler.log.read_text() == said


def test_it_is_out_of_reach_of_the_terminal_and_has_the_environment_that_was_added(out: Path) -> None:
    sampler = SamplerProcess.start(out, node="n", interval_s=0.1, environment={"PERFLOAD_PROBE": "7"})
    wait_for_lines(out)
    assert os.getsid(sampler.pid) == sampler.pid
    assert psutil.Process(sampler.pid).environ()["PERFLOAD_PROBE"] == "7"
    assert sampler.stop() == 0


def test_a_sampler_that_does_not_end_is_killed(sampler: SamplerProcess, out: Path) -> None:
    wait_for_lines(out)
    os.kill(sampler.pid, signal.SIGSTOP)
    assert sampler.stop(timeout_s=0.1) == -signal.SIGKILL


def test_survives_the_loss_of_its_folder(out: Path) -> None:
    with started_directly(out) as process:
        assert process.stderr is not None
        wait_for_lines(out)
        out.parent.rename(out.parent.with_name("removed"))
        lost = process.stderr.readline()
        assert lost.endswith(
            f"cannot write to {out}: No such file or directory; what comes in is lost until it works\n"
        )
        out.parent.mkdir()
        back = process.stderr.readline()
        assert re.fullmatch(rf"perfload sampler: writes to {out} again; lines lost: \d+\n", back)
        _, rest = process.communicate(timeout=ENOUGH_S)
        assert (process.returncode, rest) == (0, "")
    assert readings_in(out)


def test_ends_when_the_process_that_started_it_is_killed(out: Path) -> None:
    script = (
        "import sys, pathlib; from perfload.monitors.process import SamplerProcess\n"
        "print(SamplerProcess.start(pathlib.Path(sys.argv[1]), node='n', interval_s=0.1).pid, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        sampler_pid = int(parent.stdout.readline())
        wait_for_lines(out)
        parent.kill()
        assert ends_within(sampler_pid, 1)


def test_works_in_a_process_that_gevent_has_patched(out: Path) -> None:
    script = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import sys, pathlib, gevent; from perfload.monitors.process import SamplerProcess\n"
        "out = pathlib.Path(sys.argv[1])\n"
        "turns = []\n"
        "def other():\n"
        "    while True: turns.append(1); gevent.sleep(0.001)\n"
        "gevent.spawn(other)\n"
        "sampler = SamplerProcess.start(out, node='n', interval_s=0.1)\n"
        "while not out.exists(): gevent.sleep(0.01)\n"
        "before = len(turns); code = sampler.stop()\n"
        "print(code, len(turns) > before, sampler.is_alive())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(out)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("0 True False\n", "")
    assert readings_in(out)


def test_a_monitor_that_hangs_is_reported_and_does_not_keep_the_process(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_plugin(site)
    out = tmp_path / "readings.jsonl"
    arguments = ("--monitor=stuck", "--monitor=host", "--timeout=200ms")
    with started_directly(out, *arguments, path=site) as process:
        wait_until(
            lambda: out.exists() and '"stuck"' in out.read_text(), "a reading about the hanging monitor"
        )
        wait_for_lines(out, 20)
        before_s = time.monotonic()
        process.communicate(timeout=ENOUGH_S)
        assert time.monotonic() - before_s < 1
        assert process.returncode == 0
    readings = readings_in(out)
    stuck = [reading for reading in readings if reading.source == "stuck"]
    assert {reading.unavailable for reading in stuck} == {"no answer within 200 ms"}
    assert {reading.value for reading in stuck} == {None}
    assert [reading.value for reading in readings if reading.metric == "memory_percent"]


def test_a_monitor_that_is_not_installed_is_refused_before_anything_starts(out: Path) -> None:
    with pytest.raises(UsageError, match="there is no monitor 'gpus'"):
        SamplerProcess.start(out, node="n", monitors=["host", "gpus"])
    assert list(out.parent.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="the folder of the run must exist"):
        SamplerProcess.start(tmp_path / "nowhere" / "readings.jsonl", node="n")


def test_by_hand_a_bad_argument_is_told_on_stderr(tmp_path: Path) -> None:
    with started_directly(tmp_path / "r.jsonl", "--monitor=hots") as process:
        _, stderr = process.communicate(timeout=ENOUGH_S)
        assert process.returncode == ExitCode.USAGE
        assert stderr.startswith("perfload sampler: there is no monitor 'hots'\n")


def test_importing_the_sampler_leaves_signals_and_threads_alone() -> None:
    script = (
        "import json, signal, threading\n"
        "def state():\n"
        "    handlers = [str(signal.getsignal(number)) for number in signal.valid_signals()]\n"
        "    return handlers, threading.active_count()\n"
        "before = state()\n"
        "import perfload.monitors.sampler, perfload.monitors.process, sys\n"
        "print(json.dumps([before == state(), 'locust' in sys.modules, 'gevent' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, False, False]


@contextmanager
def started_directly(out: Path, *arguments: str, path: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run the sampler as a person would, with its stderr to read; whatever a test finds, it does not stay."""
    paths = [str(path) if path else "", os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[2])]
    process = subprocess.Popen(
        [sys.executable, "-m", "perfload.monitors.sampler", f"--out={out}", "--interval=100ms", *arguments],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write_plugin(site: Path) -> None:
    """Install a package with a monitor that never answers and holds a thread that blocks a normal exit."""
    metadata = site / "stuck_monitor-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stuck-monitor\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[perfload.monitors]\nstuck = stuck_monitor:make\n")
    (site / "stuck_monitor.py").write_text(
        "import threading\n"
        "class Stuck:\n"
        "    def open(self): threading.Thread(target=threading.Event().wait, daemon=False).start()\n"
        "    def read(self, at_s): threading.Event().wait()\n"
        "    def close(self): pass\n"
        "def make(environment): return Stuck()\n"
    )
