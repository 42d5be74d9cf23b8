"""Show the whole job: start a target, load it with the five-phase load test, report.

Takes about 70 seconds: the 65-minute test with its durations divided by 60, at the true arrival rates. The
target is perfload's own, on a free port of this machine, and is stopped at the end.

A MongoDB and a Redis are used where MONGODB_URL and REDIS_URL name them, else where they answer on their
default ports of this machine: the target then keeps its data there, in a database of its own that must be
empty (perfload_demo) and below keys of its own (perfload_target:), and deletes both at the end. Without them
it keeps everything in memory.

    perfload demo
    perfload demo --time-scale 240      about 20 seconds
    perfload demo --embedded            whatever servers there are
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from perfload.child import child_environment
from perfload.cli.run import find, locust_command
from perfload.config import Config, load_config
from perfload.errors import ExitCode, PerfloadError
from perfload.seeding import probe
from perfload.target.process import TargetProcess

TIME_SCALE = 60.0
DATABASE = "perfload_demo"
DEFAULT_URLS = {"MONGODB_URL": "mongodb://127.0.0.1:27017", "REDIS_URL": "redis://127.0.0.1:6379"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload demo`."""
    parser.add_argument(
        "--time-scale",
        type=float,
        default=TIME_SCALE,
        metavar="N",
        help="divide the durations of the phases by N (default: 60)",
    )
    parser.add_argument(
        "--embedded", action="store_true", help="keep the target's data in memory, whatever servers there are"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration; returns the exit code of the run."""
    scenario, shape = find("ai_models", Path("locustfiles")), find("load_test", Path("shapes"))
    found = (
        {}
        if arguments.embedded
        else _servers(load_config(directory=Path.cwd(), environ=os.environ, flags={}))
    )
    options = [option for name, option in _OPTIONS.items() if name in found]
    with TargetProcess(*options, environment=found) as target:
        print(f"The target listens on {target.url}; it is perfload's own and will be stopped at the end.")
        locust_options = ["--host", target.url, "--time-scale", f"{arguments.time_scale:g}"]
        command = locust_command(scenario, shape, locust_options)
        print(f"Running: {' '.join(['locust', *command[3:]])}\n", flush=True)
        return _wait(subprocess.Popen(command, env=child_environment(found)))


_OPTIONS = {"MONGODB_URL": "--mongodb", "REDIS_URL": "--redis"}


def _servers(config: Config) -> dict[str, str]:
    """Return the addresses of the servers that the demonstration may use, by variable; tell of each."""
    found: dict[str, str] = {}
    looks: tuple[tuple[str, Callable[[str], probe.Server]], ...] = (
        ("MONGODB_URL", lambda url: probe.mongodb(url, config.host_rules, DATABASE)),
        ("REDIS_URL", lambda url: probe.redis(url, config.host_rules)),
    )
    for variable, look in looks:
        given = config.settings.get(variable, "")
        try:
            server = look(given or DEFAULT_URLS[variable])
        except PerfloadError as error:
            if given:
                print(f"Not used, {variable}: {error.message}")
            continue
        found[variable] = server.url
        print(f"The target keeps {server.what}, and deletes it at the end.")
    return found


def _wait(locust: subprocess.Popen[bytes]) -> int:
    """Wait for Locust. Ctrl-C and SIGTERM are its to answer: it stops the load and writes the report."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        signal.signal(signal.SIGTERM, lambda *_: locust.terminate())
        code = locust.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    return code if code >= 0 else int(ExitCode.UNEXPECTED)
