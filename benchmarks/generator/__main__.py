"""python -m benchmarks.generator: load generators side by side, a table and a JSON file for each."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from benchmarks.generator import (
    compiled,
    cost,
    memory,
    open_model,
    quick,
    results,
    saturation,
    scaling,
    truth,
)
from benchmarks.generator.arriving import ARRIVING
from benchmarks.generator.cases import CASES
from benchmarks.generator.child import Failed, cores
from benchmarks.generator.tools import COMPARED, TOOLS
from benchmarks.generator.truth_run import RUNS

Run = Callable[[argparse.Namespace], dict[str, Any]]

ABOUT = """Load generators side by side: requests per second, CPU per request, how true their latencies are.

Each tool runs on one core, what it loads on another. Requests are counted by the target, CPU time by
the kernel, so no tool is believed about itself; only `truth` asks what a tool reports, and holds it
against a server that knows. Tables go to stdout, the same as JSON to benchmarks/results/<bench>.json,
progress to stderr.
`make bench-setup` installs the tools; those that are missing are named in the tables.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and return the exit code: 1 if it could not be carried out."""
    options = _parser().parse_args(argv)
    if not sys.platform.startswith("linux"):
        print("these benchmarks need Linux: they pin processes to cores and read /proc", file=sys.stderr)
        return 1
    if len(set(cores())) == 1:
        results.progress("there is one core only: tools share it with their target, and figures mean little")
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
    path = results.write(options.bench, found)
    results.progress(f"{time.monotonic() - began_s:.0f} s; written to {path}")
    return 0


def _as_interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m benchmarks.generator", description=ABOUT, formatter_class=form
    )
    benches = parser.add_subparsers(dest="bench", required=True, metavar="BENCH")
    _add_quick(benches)
    _add_saturation(benches)
    _add_compiled(benches)
    _add_open(benches)
    _add_truth(benches)
    _add_memory(benches)
    _add_scaling(benches)
    _add_cost(benches)
    return parser


def _add(benches: Any, name: str, run: Run, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = benches.add_parser(name, help=about, description=about)
    parser.set_defaults(run=run)
    return parser


def _add_quick(benches: Any) -> None:
    about = "what the README quotes, in four minutes: perfload beside FastHttpUser and wrk"
    _add_windows(_add(benches, "quick", quick.run, about), rounds=7, seconds=1.0)


def _add_saturation(benches: Any) -> None:
    about = "as many requests as each tool can make over connections that are kept"
    parser = _add(benches, "saturation", saturation.run, about)
    _add_windows(parser, rounds=7, seconds=1.0)
    cases = [*CASES, saturation.PACED]
    _add_list(parser, "--cases", cases, cases, "kinds of request")
    _add_list(parser, "--tools", COMPARED, COMPARED, "tools, by name")
    parser.add_argument(
        "--users", type=_numbers, default=[32, 250, 1000], help="users (default: 32,250,1000)"
    )


def _add_compiled(benches: Any) -> None:
    about = "perfload as it is, and with the path of a request compiled by mypyc"
    parser = _add(benches, "compiled", compiled.run, about)
    _add_windows(parser, rounds=7, seconds=1.0)
    _add_list(parser, "--cases", list(CASES), ["get", "post"], "kinds of request")
    tools = [name for name in TOOLS if name == "FastHttpUser" or name.startswith("perfload")]
    _add_list(parser, "--tools", tools, [name for name in tools if "bare" not in name], "tools, by name")
    parser.add_argument("--users", type=_numbers, default=[32, 1000], help="users (default: 32,1000)")


def _add_open(benches: Any) -> None:
    about = "arrivals of a login and a GET on fresh connections: what one costs, and how many there can be"
    parser = _add(benches, "open", open_model.run, about)
    _add_list(parser, "--tools", list(ARRIVING), list(ARRIVING), "tools, by name")
    parser.add_argument(
        "--rates",
        type=_numbers,
        default=[100, 500, 1000],
        help="rates looked at first (default: 100,500,1000)",
    )
    parser.add_argument("--seconds", type=int, default=6, help="length of a window (default: 6)")
    parser.add_argument("--steps", type=int, default=5, help="bisections between rates (default: 5)")


def _add_truth(benches: Any) -> None:
    about = "reported latencies against those of a server that knows them, and who sees a stall"
    parser = _add(benches, "truth", truth.run, about)
    _add_list(parser, "--tools", list(RUNS), list(RUNS), "tools, by name")
    parser.add_argument(
        "--delays", type=_fractions, default=[5.0, 50.0, 500.0], help='ms; "": none (default: 5,50,500)'
    )
    parser.add_argument(
        "--fractions",
        type=_fractions,
        default=[0.1, 0.5, 0.8],
        help="of a tool's limit (default: 0.1,0.5,0.8)",
    )
    parser.add_argument("--rounds", type=int, default=1, help="runs of each (default: 1)")
    parser.add_argument("--seconds", type=int, default=10, help="length of a run (default: 10)")
    parser.add_argument("--no-stall", dest="stall", action="store_false", help="leave out the stall")


def _add_memory(benches: Any) -> None:
    about = "memory of a thousand users, idle and active, and its growth over a soak"
    parser = _add(benches, "memory", memory.run, about)
    known = [name for name in TOOLS if "User" in name or name.startswith("perfload")]
    _add_list(parser, "--tools", known, ["HttpUser", "FastHttpUser", "perfload"], "tools, by name")
    _add_list(parser, "--soak-tools", known, ["perfload"], "tools that are soaked")
    parser.add_argument("--users", type=int, default=1000, help="users (default: 1000)")
    parser.add_argument("--minutes", type=float, default=15, help="length of the soak; 0: none (default: 15)")


def _add_scaling(benches: Any) -> None:
    about = "perfload with one process and with workers, and what the master costs"
    parser = _add(benches, "scaling", scaling.run, about)
    _add_windows(parser, rounds=5, seconds=4.0)
    parser.add_argument(
        "--processes", type=_numbers, default=[0, 1, 2], help="workers; 0: no cluster (default: 0,1,2)"
    )
    parser.add_argument("--users", type=int, default=250, help="users (default: 250)")


def _add_cost(benches: Any) -> None:
    about = "what users, requests and arrivals cost perfload: the figures of `perfload plan`"
    _add_windows(_add(benches, "cost", cost.run, about), rounds=3, seconds=6.0)


def _add_windows(parser: argparse.ArgumentParser, *, rounds: int, seconds: float) -> None:
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"windows of each tool, in turn (default: {rounds})"
    )
    parser.add_argument(
        "--seconds", type=float, default=seconds, help=f"length of a window (default: {seconds:g})"
    )


def _add_list(
    parser: argparse.ArgumentParser, option: str, known: list[str], default: list[str], about: str
) -> None:
    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split("+")]
        wrong = [name for name in found if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of: {', '.join(known)}")
        return found

    parser.add_argument(
        option, type=names, default=default, help=f"{about}, joined by +: {' + '.join(known)}"
    )


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _fractions(text: str) -> list[float]:
    return [float(number) for number in text.split(",")] if text else []


if __name__ == "__main__":
    sys.exit(main())
