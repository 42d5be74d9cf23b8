"""Run a scenario under a shape, headless: `locust` with the files found by name.

    perfload run ai_models load_test --host http://localhost:8000
    perfload run ai_models -u 100 -r 10 -t 60s          closed model, without a shape
    perfload run ai_models load_test --processes 4      all of Locust's options work

SCENARIO is a file of locustfiles/ or a path, SHAPE a file of shapes/ or a path. What perfload does not know
goes to Locust as it is: `locust --help` lists Locust's options, and perfload's own are below.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from perfload.child import child_environment
from perfload.errors import UsageError
from perfload.options import add_options
from perfload.suggest import did_you_mean


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload run`."""
    parser.add_argument("scenario", metavar="SCENARIO", help="locustfiles/SCENARIO.py, or a path")
    parser.add_argument("shape", metavar="SHAPE", nargs="?", help="shapes/SHAPE.py, or a path")
    parser.add_argument("--web", action="store_true", help="with Locust's web UI instead of headless")
    parser.epilog = _locust_options_help()


def _locust_options_help() -> str:
    """Return the help of the options that go to Locust: this verb must not take them for its own."""
    others = argparse.ArgumentParser(add_help=False, usage=argparse.SUPPRESS)
    add_options(others)
    return others.format_help()


def run(arguments: argparse.Namespace) -> int:
    """Become Locust; returns only if that fails."""
    command = locust_command(
        find(arguments.scenario, Path("locustfiles")),
        find(arguments.shape, Path("shapes")) if arguments.shape else None,
        arguments.rest,
        web=arguments.web,
    )
    sys.stdout.flush()
    os.execve(sys.executable, command, child_environment())


def locust_command(scenario: Path, shape: Path | None, rest: list[str], *, web: bool = False) -> list[str]:
    """Return the Locust command line that runs `scenario` under `shape`."""
    files = ",".join(str(path) for path in (scenario, shape) if path)
    command = [sys.executable, "-m", "locust", "-f", files]
    if not web:
        command += ["--headless"]
    return command + rest


def find(name: str, folder: Path) -> Path:
    """Return the Python file that `name` means: a path or one in `folder`; raises `UsageError` if none."""
    for path in (Path(name), folder / f"{name}.py"):
        if path.suffix == ".py" and path.is_file():
            return path
    known = sorted(path.stem for path in folder.glob("*.py"))
    listed = ", ".join(known) or "none; start perfload beside that folder"
    raise UsageError(
        f"there is no {name!r}, neither as a file nor in {folder}/",
        hint=f"{did_you_mean(name, known)}Known: {listed}",
    )
