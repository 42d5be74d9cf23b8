"""Run a small API to test against, whose truth is known.

It serves a login and a list of AI models, with latencies of its own and with faults on demand. When it
accepts connections it prints one line, `perfload target: listening on URL`. GET /_truth tells what it saw, by
endpoint: how many requests, how they ended, how long they took. The same is printed when it stops (Ctrl-C or
SIGTERM). Hold a load test's report against it: the counts must be equal.

    perfload target                                    on http://127.0.0.1:8000
    perfload target --port 0 --latency login=80ms/0.4  on any free port, with slow logins
    perfload target --error-rate 5% --stall 5s@10s     with faults
"""

from __future__ import annotations

import argparse
import sys

from perfload.target import command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload target`."""
    command.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the target until it is told to stop; returns the exit code."""
    return command.run(arguments, out=sys.stdout, err=sys.stderr)
