"""Show the whole job: start a target, load it with the five-phase load test, report.

Takes about 70 seconds: the 65-minute test with its durations divided by 60, at the true arrival rates. The
target is perfload's own, on a free port of this machine, and is stopped at the end.

    perfload demo
    perfload demo --time-scale 240      about 20 seconds
"""

from __future__ import annotations

import argparse
import signal
import subprocess
from pathlib import Path

from perfload.child import child_environment
from perfload.cli.run import find, locust_command
from perfload.errors import ExitCode
from perfload.target.process import TargetProcess

TIME_SCALE = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload demo`."""
    parser.add_argument(
        "--time-scale",
        type=float,
        default=TIME_SCALE,
        metavar="N",
        help="divide the durations of the phases by N (default: 60)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration; returns the exit code of the run."""
    scenario, shape = find("ai_models", Path("locustfiles")), find("load_test", Path("shapes"))
    with TargetProcess() as target:
        print(f"The target listens on {target.url}; it is perfload's own and will be stopped at the end.")
        options = ["--host", target.url, "--time-scale", f"{arguments.time_scale:g}"]
        command = locust_command(scenario, shape, options)
        print(f"Running: {' '.join(['locust', *command[3:]])}\n", flush=True)
        return _wait(subprocess.Popen(command, env=child_environment()))


def _wait(locust: subprocess.Popen[bytes]) -> int:
    """Wait for Locust. Ctrl-C and SIGTERM are its to answer: it stops the load and writes the report."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        signal.signal(signal.SIGTERM, lambda *_: locust.terminate())
        code = locust.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    return code if code >= 0 else int(ExitCode.UNEXPECTED)
