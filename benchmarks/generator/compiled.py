"""What compiling the path of a request would bring: the same sources as they are, and compiled with mypyc."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from typing import Any

from benchmarks.generator import saturation
from benchmarks.generator.child import Failed
from benchmarks.generator.results import progress
from benchmarks.generator.tools import COMPILED_FOLDER, ROOT

MODULES = (
    "histogram",
    "recorder",
    "load/bridge",
    "load/http/call",
    "load/http/connection",
    "load/http/pool",
    "load/http/request",
    "load/http/response",
    "load/http/session",
    "load/http/stamps",
)
"""What runs for each request, and can be compiled as it stands."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Compile a copy of the package, then measure both as `saturation` does."""
    build()
    return saturation.run(options)


def build() -> None:
    """Make the compiled copy anew; raises `Failed` with what the compiler says."""
    progress("compiling a copy of perfload, which takes a minute")
    shutil.rmtree(COMPILED_FOLDER, ignore_errors=True)
    shutil.copytree(
        ROOT / "perfload", COMPILED_FOLDER / "perfload", ignore=shutil.ignore_patterns("__pycache__")
    )
    # mypyc reads it for the project's name, and mypy for its settings.
    shutil.copy(ROOT / "pyproject.toml", COMPILED_FOLDER)
    shutil.copy(ROOT / "README.md", COMPILED_FOLDER)
    paths = [f"perfload/{module}.py" for module in MODULES]
    done = subprocess.run(
        [sys.executable, "-m", "mypyc", "--ignore-missing-imports", *paths],
        cwd=COMPILED_FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-1500:]
        raise Failed(f"it cannot be compiled (it takes a C compiler and `pip install mypy`):\n{said}")
