"""Printing for a reader who may leave, as `head` does: what a command found out, and its exit code, stay."""

from __future__ import annotations

import os
import sys


def show(text: str) -> None:
    """Print `text` and a newline; nothing happens when nobody reads it any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard()


def flush() -> None:
    """Write what is still buffered; Python does so when the process ends, too late to catch an error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard()


def discard() -> None:
    """Send all further output to nobody."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, sys.stdout.fileno())
    os.close(nobody)
