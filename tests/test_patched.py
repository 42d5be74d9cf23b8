"""The tests of `perfload.load`, which patches the process it is in, in processes of their own.

`pytest` and `pytest -m ai` run them so with all others; `make test` runs `pytest tests/load` itself.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("which", [pytest.param("ai", marks=pytest.mark.ai), "not ai"])
def test_what_patches_its_process(which: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "tests/load", "-m", which]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-10_000:]
