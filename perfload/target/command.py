"""The target's command line: what `perfload target` and `python -m perfload.target` share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from perfload.config import load_config
from perfload.errors import ExitCode, UsageError
from perfload.target import plants, require_extra
from perfload.target.ai import settings as ai
from perfload.target.faults import FAULT_NAMES, Faults
from perfload.target.latency import DEFAULTS, parse_latencies
from perfload.target.process import READY_PREFIX
from perfload.units import parse_duration_s

if TYPE_CHECKING:
    from perfload.target.stores import Backends


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the target's options to `parser`; their values stay text until `run` reads them."""
    _add_server(parser.add_argument_group("server"))
    _add_stores(
        parser.add_argument_group(
            "stores",
            "In memory unless said otherwise. Without a URL, that of MONGODB_URL or REDIS_URL is taken, from "
            ".env.performance or the environment. One with a password belongs there: a command line is seen "
            "by every user of the machine.",
        )
    )
    _add_latency(parser.add_argument_group("latency"))
    ai.add_options(parser.add_argument_group("AI APIs", ai.DESCRIPTION))
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

    faults = _faults_from(arguments)
    options = TargetOptions(
        host=arguments.bind,
        port=arguments.port,
        accounts=arguments.accounts,
        latencies={} if arguments.no_latency else parse_latencies(arguments.latency),
        seed=arguments.seed,
        faults=faults,
        backends=_backends(arguments, faults.planted),
        ai=ai.read(arguments, os.environ),
        token_lifetime_s=_token_lifetime_s(arguments.token_lifetime),
        stop_with_stdin=arguments.stop_with_stdin,
    )
    truth = serve(options, announce)
    err.write(truth.table() + "\n")
    return ExitCode.PASSED


def _faults_from(arguments: argparse.Namespace) -> Faults:
    given = {name: getattr(arguments, name) for name in FAULT_NAMES}
    return Faults.parse({name: value for name, value in given.items() if value is not None})


def _backends(arguments: argparse.Namespace, planted: tuple[str, ...]) -> Backends:
    from perfload.target.stores import Backends  # it needs the extra

    settings: Mapping[str, str] = {}
    if "" in (arguments.mongodb, arguments.redis):
        settings = load_config(directory=Path.cwd(), environ=os.environ, flags={}).settings
    for option in ("mongodb_pool", "documents"):
        if getattr(arguments, option) is not None and arguments.mongodb is None:
            raise UsageError(f"--{option.replace('_', '-')} needs --mongodb")
    if arguments.rate_limit and arguments.redis is None:
        raise UsageError("--rate-limit needs --redis", hint="limits are kept in Redis")
    redis_url = _address(arguments.redis, "redis", settings)
    if arguments.mongodb is None:
        plants.check_mongodb(planted)
        return Backends(redis_url=redis_url, rate_limit=arguments.rate_limit)
    require_extra(("pymongo",), extra="mongodb", what="--mongodb")
    from perfload.target import mongodb

    pool = arguments.mongodb_pool
    if pool is None and plants.SMALL_POOL in planted:
        pool = plants.POOL_SIZE
    without = {"owner_created_status"} if plants.MISSING_INDEX in planted else set()
    options = mongodb.MongoOptions(
        url=_address(arguments.mongodb, "mongodb", settings),
        pool=pool,
        documents=arguments.documents or mongodb.DEFAULT_DOCUMENTS,
        seed=arguments.seed,
        without_index=frozenset(without),
    )
    return Backends(mongodb=options, redis_url=redis_url, rate_limit=arguments.rate_limit)


def _address(given: str | None, name: str, settings: Mapping[str, str]) -> str:
    """Return the URL after `--name` or, given none, that of the settings; "" without the option."""
    variable = f"{name.upper()}_URL"
    if given is None:
        return ""
    if not given:
        if variable not in settings:
            raise UsageError(f"--{name} names no URL and {variable} is not set")
        return settings[variable]
    # From the last @ on: a password that is not escaped may hold others.
    login = given.partition("://")[2].rpartition("@")[0]
    if ":" in login:
        raise UsageError(
            f"--{name} has a password in it, which every user of this machine could read",
            hint=f"set {variable} in .env.performance or the environment, and pass --{name} alone",
        )
    return given


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


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


def _add_stores(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--mongodb",
        metavar="URL",
        nargs="?",
        const="",
        help="keep users, models and metrics in a MongoDB: in the database of the URL, else perfload_target. "
        "It has to be empty, is filled at the start, and what was put in is deleted at the end",
    )
    group.add_argument(
        "--mongodb-pool", metavar="N", type=_positive, help="connections to it at a time (default: 100)"
    )
    group.add_argument(
        "--documents", metavar="N", type=_positive, help="documents to fill it with (default: 50000)"
    )
    group.add_argument(
        "--redis", metavar="URL", nargs="?", const="", help="keep sessions and rate limits in a Redis"
    )
    group.add_argument(
        "--rate-limit",
        metavar="N",
        type=int,
        default=0,
        help="requests a second of one session, above which it is answered 429; with --redis only (default: "
        "0, they are counted and nobody is limited)",
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
    group.add_argument(
        "--fault",
        metavar="NAME",
        action="append",
        help="a reason to be slow, planted for an analysis to find; repeat it for more: "
        f"{', '.join(plants.NAMES)} (see docs/target.md)",
    )
