"""Prepare a cluster of load generators: a master and workers.

perfload cluster keygen prints a new key. With the same key on master and workers, their connection is
encrypted and nobody else can join; without one, the master accepts workers of its own machine only.

    perfload cluster keygen >> .env.performance     then copy that line to every machine of the cluster
    perfload cluster keygen > cluster.env           for docker run --env-file and the like

Whoever has the key can join, read the scenario and send results: treat it as a password, and keep it out of
git. A new one for everybody replaces it.
"""

from __future__ import annotations

import argparse
import sys

from perfload.cluster_key import VARIABLE, ClusterKey
from perfload.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the commands of `perfload cluster`."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser(
        "keygen",
        help="print a new key as a line for .env.performance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a new key to standard output, and what to do with it to a person."""
    assert arguments.command == "keygen"
    print(f"{VARIABLE}={ClusterKey.generate().text}")
    if sys.stderr.isatty():
        advice = "Put this line into .env.performance, or the environment, of the master and of every worker."
        print(advice, file=sys.stderr)
    return int(ExitCode.PASSED)
