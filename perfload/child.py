"""Child processes of perfload's own."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path


def child_environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, `added`, and where perfload is.

    Children run with `python -P`, so that no `redis.py` in the current folder poses as the client library;
    with that they would no longer find a perfload that runs from its checkout.
    """
    environment = {**os.environ, **(added or {})}
    root = str(Path(__file__).resolve().parent.parent)
    # An installed perfload is found anyway, and site-packages must not come before the standard library.
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        paths = [root, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment
