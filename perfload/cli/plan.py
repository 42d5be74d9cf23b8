"""Say what a shape takes before it runs: users in flight, requests, and the workers that make them.

    perfload plan load_test                                   with a visit of 3 s and 2 requests
    perfload plan load_test --visit 4s --requests-per-visit 6
    perfload plan load_test --from reports/<run-id>           with the visits of an earlier run

SHAPE is a file of shapes/ or a path. Users in flight follow from Little's law: arrivals per second times the
time for which each of them stays. docs/scaling.md explains the figures and what to do beyond a limit.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
from pathlib import Path

from perfload import store
from perfload.capacity import STALL_S, Visit, estimate
from perfload.cli.output import show
from perfload.cli.run import find
from perfload.cli.shape_file import read_phases
from perfload.costs import COSTS, Costs, parse_costs
from perfload.errors import UsageError
from perfload.plan import Plan
from perfload.report.capacity import render_capacity
from perfload.units import parse_duration_s


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload plan`."""
    visit = Visit()
    add = parser.add_argument
    add("shape", metavar="SHAPE", help="shapes/SHAPE.py, or a path")
    add(
        "--visit",
        metavar="DURATION",
        help=f"from a user's arrival until it leaves, think time included (default: {visit.duration_s:g}s)",
    )
    add(
        "--requests-per-visit",
        metavar="N",
        type=float,
        help=f"requests of each user, over one connection (default: {visit.requests:g})",
    )
    add(
        "--stall",
        metavar="DURATION",
        default=f"{STALL_S:g}s",
        help=f"be ready for a system that answers nothing for so long (default: {STALL_S:g}s)",
    )
    add("--tls", action="store_true", help="users connect with TLS: https")
    add("--from", dest="record", type=Path, metavar="RUN", help="take the visit from this run's folder")
    add("--costs", type=Path, metavar="FILE", help="what load costs on your machine: a results file")
    add("--time-scale", type=float, default=1.0, metavar="N", help="divide the durations of the phases by N")
    add("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print what the shape takes; returns 0."""
    path = find(arguments.shape, Path("shapes"))
    visit, assumed = _visit(arguments)
    capacity = estimate(
        Plan(read_phases(path), time_scale=arguments.time_scale),
        visit,
        stall_s=parse_duration_s(arguments.stall, "--stall"),
        costs=_costs(arguments.costs),
    )
    if arguments.json:
        show(json.dumps(dataclasses.asdict(capacity) | {"assumed": sorted(assumed)}, indent=2))
        return 0
    scale = arguments.time_scale
    text = render_capacity(
        capacity,
        shape=arguments.shape,
        file=str(path),
        assumed=assumed,
        options=f" --time-scale {scale:g}" if scale != 1 else "",
        width=shutil.get_terminal_size((100, 24)).columns,
    )
    show(text.rstrip())
    return 0


def _visit(arguments: argparse.Namespace) -> tuple[Visit, set[str]]:
    """Return the visit, and which of its fields nobody gave."""
    given: dict[str, float] = {}
    if arguments.visit is not None:
        given["duration_s"] = parse_duration_s(arguments.visit, "--visit")
        if not given["duration_s"]:
            raise UsageError("--visit is 0", hint="a visit lasts longer than nothing: --visit 3s")
    if arguments.requests_per_visit is not None:
        given["requests"] = arguments.requests_per_visit
        if not 0 <= given["requests"] < math.inf:
            raise UsageError(
                f"--requests-per-visit is {given['requests']:g}", hint="write a number of at least 0"
            )
    base = Visit.of(store.load(arguments.record)) if arguments.record else Visit()
    visit = dataclasses.replace(base, has_tls=base.has_tls or arguments.tls, **given)
    if (visit.requests, visit.has_tls) != (base.requests, base.has_tls):
        visit = dataclasses.replace(visit, cpu_us=None)  # what was measured is of another visit
    return visit, set() if arguments.record else {"duration_s", "requests"} - given.keys()


def _costs(path: Path | None) -> Costs:
    if path is None:
        return COSTS
    try:
        return parse_costs(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", hint="name a file that the benchmark wrote"
        ) from error
