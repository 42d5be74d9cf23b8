"""python -m benchmarks.cluster: what reporting costs workers and master, a table and a JSON file for each."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from benchmarks.cluster import workers
from benchmarks.generator import results
from benchmarks.generator.child import Failed

Run = Callable[[argparse.Namespace], dict[str, Any]]

ABOUT = """What it costs that workers report every second.

`report` takes the report of one worker apart: where its CPU goes, how large its messages are, and what its
master has to do for it. `workers` has a real master, in a process of its own, take the reports of many
simulated workers, and holds what it recorded against what they sent.
Tables go to stdout, the same as JSON to benchmarks/results/cluster-<bench>.json, progress to stderr.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and return the exit code: 1 if it could not be carried out, or found a fault."""
    options = _parser().parse_args(argv)
    if not sys.platform.startswith("linux"):
        print("these benchmarks need Linux: they pin processes to cores and read /proc", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _as_interrupt)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # tables as soon as they are made
    began_s = time.monotonic()
    try:
        found = options.run(options)
    except Failed as error:
        print(f"{options.bench}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    path = results.write(f"cluster-{options.bench}", found)
    results.progress(f"{time.monotonic() - began_s:.0f} s; written to {path}")
    return 0


def _as_interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.cluster", description=ABOUT, formatter_class=form)
    benches = parser.add_subparsers(dest="bench", required=True, metavar="BENCH")
    _add_report(benches)
    _add_workers(benches)
    return parser


def _add_report(benches: Any) -> None:
    about = "CPU and messages of one worker's reports, and of the master that takes them"
    parser = benches.add_parser("report", help=about, description=about)
    parser.set_defaults(run=_report)
    parser.add_argument(
        "--names",
        type=_numbers,
        default=[1, 10, 50, 200, 1000],
        help="names of requests (default: 1,10,50,200,1000)",
    )
    parser.add_argument("--requests", type=int, default=5000, help="requests a second (default: 5000)")
    parser.add_argument("--rounds", type=int, default=15, help="times ten seconds of each (default: 15)")


def _add_workers(benches: Any) -> None:
    about = "a real master with many simulated workers: its CPU, memory and answers, and whether it lost any"
    parser = benches.add_parser("workers", help=about, description=about)
    parser.set_defaults(run=workers.run)
    parser.add_argument(
        "--workers", type=_numbers, default=[100], help="workers; several, one after the other (default: 100)"
    )
    parser.add_argument(
        "--minutes", type=float, help="length of a run (default: 10; 1 for several numbers of workers)"
    )
    parser.add_argument("--names", type=int, default=10, help="names of requests (default: 10)")
    parser.add_argument(
        "--requests", type=int, default=100, help="requests a second of each worker (default: 100)"
    )


def _report(options: argparse.Namespace) -> dict[str, Any]:
    # It imports Locust, which replaces sleeping and waiting in the whole process: Ctrl-C would show a trace.
    from benchmarks.cluster import report

    return report.run(options)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
