"""perfload: load tests on Locust whose numbers can be trusted.

Plain `locust` with a perfload scenario does the whole job; these commands are the things around it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

import perfload
from perfload.cli import (
    agent,
    cluster,
    demo,
    doctor,
    monitors,
    output,
    plan,
    report,
    run,
    seed,
    sweep,
    target,
)
from perfload.errors import ExitCode, PerfloadError

VERBS: dict[str, ModuleType] = {
    "demo": demo,
    "run": run,
    "sweep": sweep,
    "target": target,
    "seed": seed,
    "agent": agent,
    "monitors": monitors,
    "report": report,
    "plan": plan,
    "cluster": cluster,
    "doctor": doctor,
}

TO_LOCUST = frozenset({"run", "sweep"})
"""Verbs that hand what they do not know on to Locust."""

EXIT_CODES = """exit codes:
  0    passed
  1    unexpected error
  2    bad configuration or usage, target not allowed or not reachable
  3    a threshold failed
  4    the measurement is invalid or incomplete
  130  interrupted; the report is still written"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every verb; a verb's help is its module's docstring."""
    parser = argparse.ArgumentParser(
        prog="perfload",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"perfload {perfload.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    for name, module in VERBS.items():
        text = module.__doc__ or ""
        verb = verbs.add_parser(
            name,
            help=text.splitlines()[0].rstrip("."),
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.configure(verb)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the only place where errors become exit codes."""
    try:
        parsed, rest = build_parser().parse_known_args(arguments)
        if rest and parsed.verb not in TO_LOCUST:
            build_parser().error(f"unrecognized arguments: {' '.join(rest)}")
        parsed.rest = rest
        return int(VERBS[parsed.verb].run(parsed))
    except PerfloadError as error:
        print(f"perfload: {error}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does; a verb with a verdict uses `output.show`.
        output.discard()
        return int(ExitCode.PASSED)
    finally:
        output.flush()


if __name__ == "__main__":
    sys.exit(main())
