"""Serve this machine's readings to a load test that runs elsewhere.

Start it on the machine of the system under test. It reads the host, the chosen processes and the databases
that the configuration in this folder names, and keeps the last ten minutes. The load test fetches them: name
the agent in its perfload.toml, [[agents]] with name and url. Prometheus may read them at /metrics.

    perfload agent                                       on http://127.0.0.1:9465, for a tunnel
    PERFLOAD_AGENT_TOKEN=… perfload agent --bind 0.0.0.0  for other machines, which need the same token

It speaks HTTP without encryption; docs/monitors/agent.md shows the tunnel. Ctrl-C or SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import sys

from perfload.agent import command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `perfload agent`."""
    command.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the agent until it is told to stop; returns the exit code."""
    return command.run(arguments, out=sys.stdout, err=sys.stderr)
