"""The target's command line: what `perfload target` and `python -m perfload.target` share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TextIO

from perfload.errors import ExitCode, UsageError
from perfload.target import require_extra
from perfload.target.faults import FAULT_NAMES, Faults
from perfload.target.latency import DEFAULTS, parse_latencies
from perfload.target.process import READY_PREFIX
from perfload.units import parse_duration_s


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the target's options to `parser`; their values stay text until `run` reads them."""
    _add_server(parser.add_argument_group("server"))
    _add_latency(parser.add_argument_group("latency"))
    _add_faults(
        parser.add_argument_group(
            "faults",
            "What goes wrong, on /api/* only. SPAN is a duration and when it begins: 5s@10s is 5 s long and "
            "begins 10 s after the first API request. SHARE is a part of all API requests, such as 5%; the "
            "shares add up to 100% at most, and which requests they hit follows from --seed. POST /_faults "
            "replaces the faults while the target runs.",
        )
    )


def run(arguments: argparse.Namespace, *, out: TextIO, err: TextIO) -> int:
    """Run the target until it is told to stop; returns the exit code.

    Writes one line to `out` when it accepts connections (`perfload target: listening on URL`) and, at the
    end, the table of what it saw to `err`. Raises `UsageError` for options, accounts or a port that cannot be
    used.
    """
    require_extra()
    from perfload.target.server import TargetOptions, serve

    def announce(url: str) -> None:
        out.write(f"{READY_PREFIX}{url}\n")
        out.flush()

    options = TargetOptions(
        host=arguments.bind,
        port=arguments.port,
        accounts=arguments.accounts,
        latencies={} if arguments.no_latency else parse_latencies(arguments.latency),
        seed=arguments.seed,
        faults=_faults_from(arguments),
        token_lifetime_s=_token_lifetime_s(arguments.token_lifetime),
        stop_with_stdin=arguments.stop_with_stdin,
    )
    truth = serve(options, announce)
    err.write(truth.table() + "\n")
    return ExitCode.PASSED


def _faults_from(arguments: argparse.Namespace) -> Faults:
    given = {name: getattr(arguments, name) for name in FAULT_NAMES}
    return Faults.parse({name: value for name, value in given.items() if value is not None})


def _token_lifetime_s(text: str) -> float:
    lifetime_s = parse_duration_s(text, "--token-lifetime")
    if lifetime_s < 1:
        raise UsageError(
            f"--token-lifetime: {text!r} is below a second", hint="for example --token-lifetime 1h"
        )
    return lifetime_s


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--port", type=int, default=8000, help="port, 0 for any free one (default: 8000)")
    group.add_argument(
        "--bind",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine only); 0.0.0.0 lets every machine in, "
        "with passwords that are public",
    )
    group.add_argument(
        "--accounts",
        metavar="CSV",
        type=Path,
        help="accounts that may log in: columns email, password and, if wanted, role (admin or user; without "
        "it, addresses that start with admin are administrators). Default: data/test_data.csv or, where that "
        "is not, the same six accounts",
    )
    group.add_argument(
        "--token-lifetime",
        metavar="DURATION",
        default="1h",
        help="how long a token is valid; short ones show whether a scenario logs in again (default: 1h)",
    )
    group.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop when standard input ends, so that a target that a script started does not outlive it",
    )


def _add_latency(group: argparse._ArgumentGroup) -> None:
    defaults = ", ".join(
        f"{name}={value.median_s * 1000:g}ms/{value.sigma:g}" for name, value in DEFAULTS.items()
    )
    group.add_argument(
        "--latency",
        metavar="ENDPOINT=MEDIAN/SIGMA",
        action="append",
        default=[],
        help="log-normal latency of one endpoint: its median, and the spread sigma (0.4: the 95th percentile "
        f"is twice the median; 0: constant). Repeat it for more endpoints. Default: {defaults}",
    )
    group.add_argument("--no-latency", action="store_true", help="answer at once, whatever --latency says")
    group.add_argument(
        "--seed",
        metavar="NUMBER",
        type=int,
        default=1,
        help="latencies and faults are drawn from it: the same seed, the same sequence (default: 1)",
    )


def _add_faults(group: argparse._ArgumentGroup) -> None:
    for option, metavar, text in (
        ("--delay", "DURATION", "every request takes this long, in place of its drawn latency"),
        ("--error-rate", "SHARE", "share answered with status 500, after the latency: 5%%"),
        ("--throttle-rate", "SHARE", "share answered at once with status 429 and Retry-After"),
        ("--retry-after", "DURATION", "whole seconds that Retry-After asks for (default: 1s)"),
        ("--truncate-rate", "SHARE", "share whose body ends half-way: the connection is closed"),
        ("--slow-body", "DURATION", "headers are sent at once, the body bit by bit over this time"),
        ("--stall", "SPAN", "requests in progress, and those that arrive meanwhile, wait for its end"),
        ("--refuse", "SPAN", "the listening socket is closed: new connections are refused, open ones stay"),
    ):
        group.add_argument(option, metavar=metavar, help=text)
