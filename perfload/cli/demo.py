"""Show the whole job: start a target, load it, judge it, report.

The target is perfload's own, on a free port of this machine, and is stopped at the end.

    perfload demo                       the API of perfload's target: about 70 seconds
    perfload demo ai                    its language models: about 30 seconds
    perfload demo --time-scale 240      about 20 seconds
    perfload demo --embedded            whatever servers there are

`perfload demo` is the five-phase load test, whose 65 minutes are divided by 60, at the true arrival rates. A
MongoDB and a Redis are used where MONGODB_URL and REDIS_URL name them, else where they answer on their
default ports of this machine: the target then keeps its data there, in a database of its own that must be
empty (perfload_demo) and below keys of its own (perfload_target:), and deletes both at the end. Without them
it keeps everything in memory.

`perfload demo ai` asks the target's emulator of OpenAI's and Anthropic's APIs, so nothing is paid and no key
is sent. The emulator answers as a busy server does: streams share it, and each slows down the others.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Job:
    """What a demonstration runs: names of files, and options."""

    scenario: str
    shape: str
    target_options: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()
    """Instead of those of perfload.toml."""
    environment: Mapping[str, str] = field(default_factory=dict)
    uses_servers: bool = False
    """Whether the target may keep its data in a MongoDB and a Redis."""


_NO_KEY = "sk-test-perfload"
"""Opens nothing but perfload's own target: a real key has no business there."""

JOBS = {
    "models": Job("ai_models", "load_test", uses_servers=True),
    "ai": Job(
        "ai_api",
        "ai_load",
        target_options=(
            *("--ai-ttft", "150ms/0.3", "--ai-prefill", "100ms", "--ai-gap", "20ms/0.2"),
            *("--ai-tokens", "50/0.5", "--ai-slowdown", "2%", "--ai-cached", "50%"),
        ),
        thresholds=("p99(ttft) < 2s", "p99(tpot) < 100ms", "goodput >= 95%", "error_rate <= 1%"),
        environment=dict.fromkeys(("OPENAI_TEST_API_KEY", "ANTHROPIC_TEST_API_KEY"), _NO_KEY),
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload demo`."""
    parser.add_argument(
        "job",
        metavar="WHAT",
        nargs="?",
        choices=sorted(JOBS),
        default="models",
        help="models (default) or ai",
    )
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
    job = JOBS[arguments.job]
    scenario, shape = find(job.scenario, Path("locustfiles")), find(job.shape, Path("shapes"))
    servers: dict[str, str] = {}
    if job.uses_servers and not arguments.embedded:
        servers = _servers(load_config(directory=Path.cwd(), environ=os.environ, flags={}))
    stores = [option for name, option in _OPTIONS.items() if name in servers]
    with TargetProcess(*job.target_options, *stores, environment=servers) as target:
        print(f"The target listens on {target.url}; it is perfload's own and will be stopped at the end.")
        options = ["--host", target.url, "--time-scale", f"{arguments.time_scale:g}"]
        options += [part for rule in job.thresholds for part in ("--threshold", rule)]
        command = locust_command(scenario, shape, options)
        print(f"Running: {shlex.join(['locust', *command[3:]])}\n", flush=True)
        return _wait(subprocess.Popen(command, env=child_environment({**servers, **job.environment})))


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
