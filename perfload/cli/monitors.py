"""List the monitors and whether they work on this machine, with this configuration.

Each is opened and read twice, so this takes a few seconds. One that the configuration switches off is left
alone. Nothing is changed at the sources: MongoDB's profiler stays as it is.

    perfload monitors           for a person
    perfload monitors --json    for a program
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perfload.cli.output import show
from perfload.config import load_config
from perfload.errors import ExitCode
from perfload.monitoring import Monitoring
from perfload.monitors import monitor_names
from perfload.monitors.probe import Probe, probe
from perfload.monitors.sampler import steady_clock
from perfload.monitors.selection import selected
from perfload.redact import redact

SHOWN_PARTS = 3
"""Parts that cannot be read, by name, below a monitor that works otherwise."""

SWITCHES = {
    "host": "monitors.host is false",
    "gpu": 'monitors.gpu is "off"',
    "mongodb": "monitors.mongodb is false",
    "redis": "monitors.redis is false",
}
"""How the configuration switches a monitor off."""

NEEDS = {
    "processes": "monitors.processes chooses none",
    "mongodb": "MONGODB_URL is not set",
    "mongodb_profiler": 'mongodb.profile is "off"',
    "redis": "REDIS_URL is not set",
    "prometheus": "prometheus.url and prometheus.queries are not set",
    "gpu": "no graphics card was found",
}
"""Why a monitor has nothing to watch."""

UNTRIED = {"mongodb_profiler": "not tried: it would change the profiler's level, which a run restores"}
"""Monitors that change something at their source when they are opened."""


@dataclass(frozen=True, slots=True)
class Row:
    """One monitor."""

    name: str
    is_on: bool
    note: str
    """Why it is off, or was not tried."""
    probe: Probe | None
    """None for one that was left alone."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload monitors`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; returns 0."""
    config = load_config(directory=Path(), environ=os.environ, flags={})
    on = selected(config.monitoring, config.settings)
    environment = {**os.environ, **config.monitoring.environment(config.settings)}
    rows = look(config.monitoring, on, environment)
    show(json.dumps([_fields(row) for row in rows], indent=2) if arguments.json else _table(rows))
    return ExitCode.PASSED


def look(monitoring: Monitoring, on: Sequence[str], environment: Mapping[str, str]) -> list[Row]:
    """Return a row per monitor there is: those that are on, then the others."""
    names = [*on, *(name for name in monitor_names() if name not in on)]
    notes = {name: UNTRIED.get(name, "") if name in on else _why_off(name, monitoring) for name in names}
    left_alone = {*SWITCHES.values(), *NEEDS.values(), *UNTRIED.values()}
    tried = [name for name in names if notes[name] not in left_alone]
    probes = probe(tried, environment=environment, clock=steady_clock())
    return [Row(name, name in on, notes[name], probes.get(name)) for name in names]


def _why_off(name: str, monitoring: Monitoring) -> str:
    is_wanted = {
        "host": monitoring.host,
        "gpu": monitoring.gpu != "off",
        "mongodb": monitoring.mongodb,
        "redis": monitoring.redis,
    }
    if not is_wanted.get(name, True):
        return SWITCHES[name]
    return NEEDS.get(name, "installed, and not chosen by the configuration")


def _table(rows: Sequence[Row]) -> str:
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        state = "on " if row.is_on else "off"
        lines.append(f"{row.name:<{width}}  {state}  {_said(row)}")
        parts = list(row.probe.unavailable.items()) if row.probe and not row.probe.reason else []
        indent = " " * (width + 7)
        lines += [f"{indent}{metric}: {redact(reason)}" for metric, reason in parts[:SHOWN_PARTS]]
        if len(parts) > SHOWN_PARTS:
            lines.append(f"{indent}and {len(parts) - SHOWN_PARTS} more")
    return "\n".join(lines)


def _said(row: Row) -> str:
    if row.probe is None:
        return row.note
    if row.probe.reason:
        found = f"unavailable: {_arrow(redact(row.probe.reason))}"
    else:
        missing = len(row.probe.unavailable)
        found = f"ok: {row.probe.values} values" + (f", {missing} unavailable" if missing else "")
    return f"{row.note}; {found}" if row.note else found


def _arrow(reason: str) -> str:
    """Set the next step apart, which the reason of a monitor ends with."""
    what, found, step = reason.rpartition("; ")
    return f"{what} → {step}" if found else reason


def _fields(row: Row) -> dict[str, object]:
    checked = row.probe
    return {
        "name": row.name,
        "on": row.is_on,
        "note": row.note,
        "checked": checked is not None,
        "ok": checked is not None and not checked.reason,
        "values": checked.values if checked else 0,
        "reason": redact(checked.reason) if checked else "",
        "unavailable": {name: redact(why) for name, why in checked.unavailable.items()} if checked else {},
    }
