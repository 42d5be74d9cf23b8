"""`perfload sweep` with real Locust processes, against the API and the emulator that ship."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from perfload.cli.sweep import SHAPE
from perfload.target.process import TargetProcess
from tests.integration.locust_runs import AI_MODELS, ROOT, free_port, heed_interrupts, run_locust

pytestmark = [pytest.mark.integration, pytest.mark.ai]

AI_API = ROOT / "locustfiles" / "ai_api.py"
KNEE = (
    *("--ai-slots", "4", "--ai-queue", "100000"),
    *("--ai-ttft", "50ms", "--ai-gap", "50ms", "--ai-tokens", "5"),
)
"""Four answers at a time, of 250 ms each: 16 a second, and whoever comes above that waits."""

SHORT = ("--duration", "3s", "--warmup", "1s", "--pause", "0")
TIMEOUT_S = 90.0


@pytest.fixture(scope="module")
def emulator() -> Iterator[TargetProcess]:
    with TargetProcess(*KNEE) as target:
        yield target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that sweeps are started in."""
    (tmp_path / "perfload.toml").write_text(
        '[thresholds]\nrules = ["peak_users >= 100", "error_rate <= 1%"]\n[monitors]\nhost = false\n'
        # What is tested is the sweep: a busy machine is not to make its levels invalid.
        '[validity]\nmax_lag_p95 = "10s"\nmax_generator_cpu = "100%"\n'
    )
    return tmp_path


@dataclass(frozen=True)
class Swept:
    """What a sweep left behind."""

    code: int
    output: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "sweep.json").read_text("utf-8"))
        return value

    @property
    def page(self) -> str:
        return (self.folder / "sweep.html").read_text("utf-8")

    def verdicts(self) -> dict[float, str]:
        return {level["level"]: level["verdict"] for level in self.summary["levels"]}


class Sweep:
    """A sweep under way."""

    def __init__(self, *arguments: object, cwd: Path, output: int = subprocess.PIPE) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PERFLOAD_")}
        self.cwd = cwd
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "perfload.cli.main", "sweep", *map(str, arguments)],
            cwd=cwd,
            env={**clean, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed_interrupts,  # noqa: PLW1509  # nothing but a system call
        )

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and whatever it has started, by their ids."""
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.kill()
        self.process.communicate()

    def wait_for(self, level: str, words: str) -> None:
        """Return once the run of `level` has said `words`."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            logs = list(self.cwd.glob(f"reports/sweep-*/{level}/locust.log"))
            if logs and words in logs[0].read_text("utf-8"):
                return
            time.sleep(0.05)
        raise AssertionError(f"{level} never said {words!r}")

    def end(self) -> Swept:
        """Wait for its end."""
        output, _ = self.process.communicate(timeout=TIMEOUT_S)
        folders = list((self.cwd / "reports").glob("sweep-*"))
        return Swept(self.process.returncode, output, folders[0] if folders else self.cwd)


def swept(*arguments: object, cwd: Path) -> Swept:
    with Sweep(*arguments, cwd=cwd) as process:
        return process.end()


def test_the_knee_of_an_emulator_with_four_places_is_found(folder: Path, emulator: TargetProcess) -> None:
    rule = ("--threshold", "p99(ttft) < 600ms", "--threshold", "peak_users >= 100")
    levels = ("--rates", "30,8", *SHORT)
    done = swept(AI_API, *levels, *rule, "--host", emulator.url, "--processes", "2", "Chat", cwd=folder)
    assert done.code == 0, done.output
    assert done.verdicts() == {8.0: "met", 30.0: "missed"}
    assert (
        "8/s is the highest level that meets the objectives. 30/s does not meet them: p99(ttft)"
        in " ".join(done.output.split())
    )
    assert "Left out: peak_users >= 100 (the level sets the load)" in done.output
    calm, flooded = (level["figures"] for level in done.summary["levels"])
    assert calm["started_per_s"] == 8.0
    assert calm["requests"] == 24
    # What it can do at most, though 30 a second were sent and answered in the end.
    assert 8 < flooded["requests_per_s"] < 20
    assert flooded["requests"] == 90
    assert flooded["tokens"]["ttft_ms"]["p99"] > 600 > calm["tokens"]["ttft_ms"]["p99"] >= 50
    assert flooded["tokens"]["output_tokens_per_s"] > calm["tokens"]["output_tokens_per_s"]
    for level in done.summary["levels"]:
        assert (done.folder / level["run"] / "report.html").is_file()
        assert f'href="./{level["run"]}/report.html"' in done.page


def test_a_sweep_over_users_of_another_scenario(folder: Path, emulator: TargetProcess) -> None:
    done = swept(AI_MODELS, "--users", "4,2", *SHORT, "--host", emulator.url, cwd=folder)
    assert done.code == 0, done.output
    assert done.verdicts() == {2.0: "met", 4.0: "met"}
    assert "No higher one was tried: the limit lies above it." in " ".join(done.output.split())
    for level in done.summary["levels"]:
        assert level["figures"]["tokens"] is None
        assert level["figures"]["started_per_s"] is None
        assert level["figures"]["users_mean"] == pytest.approx(level["level"], abs=0.5)
        assert [rule["rule"] for rule in level["objectives"]] == ["error_rate <= 1%"]


def test_an_invalid_level_ends_the_sweep_unless_it_is_to_keep_going(
    folder: Path, emulator: TargetProcess
) -> None:
    (folder / "perfload.toml").write_text('[validity]\nmax_lag_p95 = "1us"\n[monitors]\nhost = false\n')
    options = ("--duration", "1s", "--warmup", "0", "--pause", "0", "--host", emulator.url)
    done = swept(AI_API, "--rates", "4,5", *options, cwd=folder)
    assert done.code == 4, done.output
    assert (done.verdicts(), done.summary["end"]) == ({4.0: "invalid"}, "stopped")
    assert "--keep-going" in done.output


def interrupted(sweep: Sweep, level: str, number: signal.Signals) -> Swept:
    """Send `number` in the middle of a level's measured phase."""
    sweep.wait_for(level, "  Measured  ")
    family = psutil.Process(sweep.process.pid).children(recursive=True)
    assert family
    sweep.process.send_signal(number)
    done = sweep.end()
    psutil.wait_procs(family, timeout=10)
    assert [process for process in family if process.is_running()] == []
    return done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_level_and_writes_what_there_is(
    folder: Path, emulator: TargetProcess, number: signal.Signals
) -> None:
    options = ("--duration", "60s", "--warmup", "0", "--host", emulator.url)
    with Sweep(AI_API, "--rates", "4,8", *options, "Chat", cwd=folder) as sweep:
        done = interrupted(sweep, "level-4", number)
    assert done.code == 130, done.output
    assert done.verdicts() == {4.0: "incomplete"}
    assert done.summary["end"] == "interrupted"
    assert done.summary["levels"][0]["figures"]["requests"] > 0
    assert "The sweep was interrupted at 4/s." in done.page
    assert (done.folder / done.summary["levels"][0]["run"] / "report.html").is_file()
    assert not (done.folder / "level-8").exists()


def test_a_closed_terminal_stops_the_level_and_what_there_is_is_written(
    folder: Path, emulator: TargetProcess
) -> None:
    terminal, output = pty.openpty()
    options = ("--duration", "60s", "--warmup", "0", "--host", emulator.url)
    with Sweep(AI_API, "--rates", "4", *options, "Chat", cwd=folder, output=output) as sweep:
        os.close(output)
        sweep.wait_for("level-4", "  Measured  ")
        os.close(terminal)
        sweep.process.send_signal(signal.SIGHUP)
        assert sweep.process.wait(TIMEOUT_S) == 130
    (page,) = folder.glob("reports/sweep-*/sweep.html")
    assert "The sweep was interrupted at 4/s." in page.read_text("utf-8")


def test_a_second_interrupt_ends_it_at_once_with_its_workers(folder: Path, emulator: TargetProcess) -> None:
    options = ("--duration", "60s", "--warmup", "0", "--processes", "2", "--host", emulator.url)
    with Sweep(AI_API, "--rates", "4", *options, "Chat", cwd=folder) as sweep:
        sweep.wait_for("level-4", "  Measured  ")
        family = psutil.Process(sweep.process.pid).children(recursive=True)
        assert len(family) >= 3
        sweep.process.send_signal(signal.SIGINT)
        time.sleep(0.1)  # two signals of a kind that come at once are one
        sweep.process.send_signal(signal.SIGINT)
        done = sweep.end()
    psutil.wait_procs(family, timeout=10)
    assert [process for process in family if process.is_running()] == []
    assert done.code == 130, done.output
    assert done.verdicts() == {4.0: "incomplete"}


def test_a_target_that_does_not_answer_ends_it_with_the_run_s_own_words(folder: Path) -> None:
    port = free_port()
    done = swept(AI_API, "--rates", "1,2", *SHORT, "--host", f"http://127.0.0.1:{port}", cwd=folder)
    assert done.code == 2
    assert f"the run of 1/s did not start: nothing answers at http://127.0.0.1:{port}" in done.output
    assert "locust.log" in done.output
    assert not (done.folder / "level-2").exists()


def test_a_user_that_does_not_exist_ends_it_with_the_run_s_own_words(
    folder: Path, emulator: TargetProcess
) -> None:
    done = swept(AI_API, "--rates", "1", *SHORT, "--host", emulator.url, "Chatt", cwd=folder)
    assert done.code == 2
    assert "Chatt" in done.output
    assert "Traceback" not in done.output


def test_the_shape_of_a_level_says_that_it_is_none_to_be_named(folder: Path) -> None:
    done = run_locust("-f", f"{AI_MODELS},{SHAPE}", "--host", "http://127.0.0.1:9", cwd=folder)
    assert done.code == 2
    assert "PERFLOAD_SWEEP_LEVEL holds no level of a sweep" in done.output
    assert "Traceback" not in done.output
