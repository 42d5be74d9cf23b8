"""`python -m perfload.target`: the target alone, without the rest of the command line."""

from __future__ import annotations

import argparse
import sys

from perfload.errors import PerfloadError
from perfload.target import command


def main() -> int:
    """Run the target and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m perfload.target", description=__doc__)
    command.configure(parser)
    try:
        return command.run(parser.parse_args(), out=sys.stdout, err=sys.stderr)
    except PerfloadError as error:
        sys.stderr.write(f"perfload target: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
