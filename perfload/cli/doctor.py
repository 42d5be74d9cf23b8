"""Put right what a killed run could not: the MongoDB profiler that it had set.

    perfload doctor

A run that profiles MongoDB notes how it found the profiler before it changes it, and puts it back at its end.
When perfload was killed, the next run does that, or this command. Needs MONGODB_URL, from the environment or
from .env.performance. Exits with 0 when nothing is left to be done.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from perfload.cli.output import show
from perfload.config import load_config
from perfload.errors import ExitCode
from perfload.monitors.mongodb.profile_note import state_folder
from perfload.monitors.mongodb.profile_recovery import recover


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload doctor`."""
    parser.add_argument(
        "--force",
        action="store_true",
        help="also what belongs to a perfload that may still run: one on another machine, or in a container",
    )


def run(arguments: argparse.Namespace) -> int:
    """Put back profilers and say what was done; returns 1 when something is left."""
    config = load_config(directory=Path.cwd(), environ=os.environ, flags={})
    url = config.settings.get("MONGODB_URL", "")
    recovered = recover(url, state_folder(os.environ), force=arguments.force)
    if not recovered:
        show("MongoDB profiler: no run has left one behind.")
    for one in recovered:
        verb = "" if one.is_done else "NOT put back: "
        show(f"MongoDB profiler of {one.database!r} on {one.server}: {verb}{one.text}")
    return int(ExitCode.PASSED if all(one.is_done for one in recovered) else ExitCode.UNEXPECTED)
