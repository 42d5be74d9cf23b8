"""Whether a record has what the workers sent: to the request, from all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.cluster.traffic import METHOD
from perfload.model import ALL_PHASES

MAX_NAMED = 5
"""Faults, or reasons, of one kind that are told."""


def sent_in_all(said: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of what the processes with workers have sent."""
    requests: dict[str, list[int]] = {}
    arrivals = 0
    for line in said:
        if "sent" not in line:
            continue
        arrivals += line["arrivals"]
        for name, (count, failed) in line["sent"].items():
            held = requests.setdefault(name, [0, 0])
            held[0], held[1] = held[0] + count, held[1] + failed
    return {"requests": requests, "arrivals": arrivals}


def faults(summary: dict[str, Any], sent: dict[str, Any], workers: int) -> list[str]:
    """Return what is wrong with the summary of a run in which `workers` workers sent `sent`."""
    return [*_of_requests(summary, sent["requests"]), *_of_nodes(summary, sent["arrivals"], workers)]


def _of_requests(summary: dict[str, Any], sent: dict[str, list[int]]) -> Iterator[str]:
    rows = [row for row in summary["requests"] if row["phase"] == ALL_PHASES]
    found = {(row["method"], row["name"]): [row["count"], row["failures"]] for row in rows}
    wrong = [name for name, held in sent.items() if found.get((METHOD, name)) != held]
    for name in wrong[:MAX_NAMED]:
        yield f"{name}: [requests, failures] sent {sent[name]}, recorded {found.get((METHOD, name))}"
    if len(wrong) > MAX_NAMED:
        yield f"and {len(wrong) - MAX_NAMED} more names"
    if len(found) > len(sent):
        yield f"{len(found)} names are recorded, {len(sent)} were sent"
    total = sum(count for count, _ in sent.values())
    if summary["totals"]["requests"] != total:
        yield f"{total:,} requests were sent, {summary['totals']['requests']:,} are in the totals"


def _of_nodes(summary: dict[str, Any], arrivals: int, workers: int) -> Iterator[str]:
    nodes = summary["nodes"]
    complete = sum(node["complete"] for node in nodes)
    if (len(nodes), complete) != (workers, workers):
        yield f"{workers} workers took part, {len(nodes)} are recorded, {complete} of them complete"
    started = sum(phase["arrivals"]["started"] for phase in summary["phases"])
    if started != arrivals:
        yield f"{arrivals:,} arrivals were sent, {started:,} are recorded"
    if summary["verdict"] != "passed":
        yield f"the verdict is {summary['verdict']}: {'; '.join(summary['reasons'][:MAX_NAMED])}"
