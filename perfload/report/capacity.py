"""What a plan takes, for a terminal: its phases, its limits, and how to start it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence

from perfload.capacity import Capacity, Limit, PhaseNeed
from perfload.report.escape import visible
from perfload.report.layout import Cell, TextColumn, aligned, wrapped
from perfload.report.quantities import NOTHING, count, latency, number, quantity
from perfload.units import format_duration

MAX_WIDTH = 120
"""Lines longer than this are hard to follow with the eye."""

USUAL_FILES = 1024
"""How many files a process may have open on most systems, unless told otherwise."""

BEYOND = {
    "CPU of a worker": "more workers: each uses one core.",
    "CPU of the master": "a faster core for the master, and fewer workers on faster ones.",
    "open files of a worker": "`ulimit -n` before each worker starts, or more workers.",
    "ports to the target": "{addresses}, of worker machines or of the target; else "
    "`sysctl -w net.ipv4.tcp_tw_reuse=1`, which frees a port after 1 s instead of 60.",
}
"""Name of a limit, and what helps beyond it: so many addresses as share the ports."""

_INDENT = "  "


def render_capacity(
    capacity: Capacity, *, shape: str, file: str, assumed: Collection[str], options: str, width: int
) -> str:
    """Return the tables of a plan in lines of at most `width` columns, and the commands that start it.

    `shape` is its name and `file` where it is, `assumed` names the fields of the visit that nobody gave, and
    `options` go to the commands.
    """
    room = min(width, MAX_WIDTH)
    blocks = (
        _head(capacity, shape, assumed, room),
        _table(
            "Phases, each at its peak; CPU of one core",
            _PHASES,
            [_phase(phase) for phase in capacity.phases],
            room,
        ),
        _table("Limits", _LIMITS, [_limit(limit) for limit in capacity.limits], room),
        _needs(capacity, room),
        _commands(capacity, shape, file, options),
    )
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _head(capacity: Capacity, shape: str, assumed: Collection[str], width: int) -> Iterator[str]:
    lasts = format_duration(sum(phase.duration_s for phase in capacity.phases))
    arrivals = sum(phase.arrivals for phase in capacity.phases)
    yield f"{visible(shape)}: {lasts}" + (f", {count(arrivals)} arrivals" if arrivals else "")
    visit = capacity.visit
    told = (
        ("duration_s", f"lasts {format_duration(visit.duration_s)}"),
        ("requests", f"makes {_plain(visit.requests)} request{'s' * (visit.requests != 1)}"),
    )
    what = " and ".join(words + " (assumed)" * (field in assumed) for field, words in told)
    text = f"A visit {what}{', over TLS' if visit.has_tls else ''}."
    if visit.cpu_us is not None:
        text += f" It took {latency(visit.cpu_us / 1000)} of a worker's CPU."
    if assumed:
        text += " Say what is true of yours with --visit and --requests-per-visit, or with --from RUN."
    text += f" In a stall the system answers nothing for {format_duration(capacity.stall_s)}."
    yield from wrapped(text, width, first=_INDENT, rest=_INDENT)


_PHASES = (
    TextColumn("phase", number=False, elastic=True),
    TextColumn("lasts", min_terminal=90),
    TextColumn("arrivals"),
    TextColumn("arrivals/s"),
    TextColumn("requests/s"),
    TextColumn("users"),
    TextColumn("in a stall"),
    TextColumn("CPU"),
)


def _phase(phase: PhaseNeed) -> list[str]:
    is_open = phase.model == "arrivals"
    return [
        phase.name,
        format_duration(phase.duration_s),
        count(phase.arrivals) if is_open else NOTHING,
        _plain(phase.visits_per_s) if is_open else NOTHING,
        _plain(phase.requests_per_s),
        count(phase.users),
        count(phase.users_in_stall),
        f"{_plain(phase.cpu_percent)} %",
    ]


def _plain(value: float) -> str:
    """Return a number that was planned, not measured: no zeros to show how exact it is."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


_LIMITS = (
    TextColumn("limit", number=False, elastic=True),
    TextColumn("needed"),
    TextColumn("there is"),
    TextColumn("used"),
)


def _limit(limit: Limit) -> list[str]:
    unit = f" {limit.unit}" if limit.unit else ""
    return [
        limit.name,
        f"{_plain(limit.needed)}{unit}",
        f"{_plain(limit.available)}{unit}",
        f"{limit.used_percent:,.0f} %",
    ]


def _table(
    title: str, columns: Sequence[TextColumn], rows: Iterable[Sequence[str]], width: int
) -> Iterator[str]:
    yield title
    grid = [[Cell(visible(text)) for text in row] for row in rows]
    for line in aligned(columns, grid, width - len(_INDENT)):
        yield (_INDENT + _INDENT.join(cell.text for cell in line)).rstrip()


def _needs(capacity: Capacity, width: int) -> Iterator[str]:
    """Yield how many workers, and what helps beyond each limit that is passed, or beyond the nearest one."""
    memory = quantity(capacity.bytes_per_worker, "B")
    if capacity.workers == 1:
        text = f"1 worker has CPU enough; it takes {memory} of memory"
    else:
        text = f"{count(capacity.workers)} workers and a master; each worker takes {memory} of memory"
    text += f", all traffic together {number(capacity.network_bits_per_s / 1e6)} Mbit/s."
    yield from wrapped(text, width)
    passed = [limit for limit in capacity.limits if limit.used_percent > 100]
    for limit in passed or capacity.limits[:1]:
        words = "Not enough" if passed else "The nearest limit:"
        times = math.ceil(limit.needed / limit.available)
        helps = BEYOND[limit.name].format(addresses=f"{times} addresses" if times > 1 else "more addresses")
        yield from wrapped(f"{words} {limit.name}. What helps: {helps}", width)


def _commands(capacity: Capacity, shape: str, file: str, options: str) -> Iterator[str]:
    run = f"  perfload run SCENARIO {shape} --host URL{options}"
    limit = f"  ulimit -n {capacity.files_per_worker}"
    limits = [limit] if capacity.files_per_worker > USUAL_FILES else []
    if capacity.workers == 1:
        yield from ("Start", *limits, run)
        return
    locust = f"  locust -f locustfiles/SCENARIO.py,{file}"
    yield from (f"Start on one machine with {count(capacity.workers)} cores or more", *limits)
    yield f"{run} --processes {capacity.workers}"
    yield "Start on several machines that share a key (`perfload cluster keygen`): a master"
    yield f"{locust} --headless --host URL{options} \\"
    yield f"    --master --expect-workers {capacity.workers} --master-bind-host ADDRESS"
    yield from (f"and {count(capacity.workers)} workers", *limits)
    yield f"{locust} --worker --master-host ADDRESS"
