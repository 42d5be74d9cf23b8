"""Where results go, and what of the machine belongs to them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.generator import nginx

FOLDER = Path(__file__).resolve().parent.parent / "results"


def progress(text: str) -> None:
    """Say on stderr what is being done: the tables alone go to stdout."""
    print(text, file=sys.stderr, flush=True)


def write(name: str, found: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Write results, with the machine and the date, to `<name>.json`; return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    document = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        **found,
    }
    path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return path


def machine() -> dict[str, Any]:
    """Return processor, cores and versions; not the machine's name."""
    packages = ("perfload", "locust", "gevent", "geventhttpclient", "requests", "httptools")
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: _version(name) for name in packages} | {"nginx": nginx.version()},
        "commit": _commit(),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what the processor calls itself."""
    for line in cpuinfo.read_text("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    argv = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(argv, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()
