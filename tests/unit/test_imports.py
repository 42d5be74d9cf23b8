"""What importing perfload does to a process, seen in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perfload import __version__
from perfload.child import child_environment

PATCHES = ("locust", "gevent")
TARGET_EXTRA = ("uvicorn", "httptools", "jwt", "fastapi")


def modules_after(code: str) -> set[str]:
    """Return the top-level names of all modules that are loaded after `code` has run."""
    report = (
        "\nimport json, sys; sys.stderr.write(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    child = subprocess.run(
        [sys.executable, "-P", "-c", code + report],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(child.stderr))


def test_importing_perfload_does_not_patch_the_process() -> None:
    loaded = modules_after("import perfload; perfload.Phase(name='Load', duration='1m', arrival_rate=1)")
    assert "perfload" in loaded
    assert not loaded.intersection(PATCHES)


def test_judging_and_rendering_a_record_needs_no_locust() -> None:
    loaded = modules_after("import perfload.store, perfload.analysis.summary, perfload.report.html")
    assert "plotly" in loaded
    assert not loaded.intersection(PATCHES)


HELP = """
import contextlib, perfload.cli.main
with contextlib.suppress(SystemExit):
    perfload.cli.main.main({arguments!r})
"""


@pytest.mark.parametrize("arguments", [["--help"], ["target", "--help"], ["run", "--help"]])
def test_help_needs_neither_locust_nor_the_target_extra(arguments: list[str]) -> None:
    loaded = modules_after(HELP.format(arguments=arguments))
    assert "perfload" in loaded
    assert not loaded.intersection((*PATCHES, *TARGET_EXTRA))


def test_a_shape_is_planned_without_locust_in_the_process() -> None:
    shape = Path(__file__).parents[2] / "shapes" / "spike.py"
    loaded = modules_after(HELP.format(arguments=["plan", str(shape)]))
    assert "perfload" in loaded
    assert not loaded.intersection(PATCHES)


def test_help_works_where_the_target_extra_is_not_installed() -> None:
    hide = f"import sys; sys.modules.update(dict.fromkeys({TARGET_EXTRA!r}))\n"
    code = hide + "from perfload.cli.main import main; main(['--help'])"
    child = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.startswith("usage: perfload ")
    assert "Run a small API to test against" in child.stdout


def test_the_module_runs_as_a_program() -> None:
    child = subprocess.run(
        [sys.executable, "-P", "-m", "perfload.cli.main", "--version"],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, f"perfload {__version__}\n", "")
