"""The phases in a shape's file, which is loaded in a process of its own.

A shape imports `perfload.load`, which patches its whole process and starts to listen to Locust; and a file is
its author's code. Neither is to happen to a command that only wants to know what the phases are.

    python -P -m perfload.cli.shape_file shapes/load_test.py
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from perfload.child import child_environment
from perfload.errors import PerfloadError, UsageError
from perfload.model import Phase


def read_phases(path: Path) -> list[Phase]:
    """Return the phases of the one shape in the file `path`; raises `UsageError` if there is not one."""
    command = [sys.executable, "-P", "-m", "perfload.cli.shape_file", str(path)]
    child = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        last = child.stderr.strip().rpartition("\n")[2]
        raise UsageError(f"{path} ends the process that loads it", hint=last) from None
    if "error" in answer:
        raise UsageError(answer["error"], hint=answer["hint"])
    return [Phase(**options) for options in answer["phases"]]


def _answer(path: Path) -> dict[str, Any]:
    """Return what the child says: the phases, or an error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            phases = _phases(path)
    except PerfloadError as error:
        return {"error": error.message, "hint": error.hint}
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in trace if frame.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        return {"error": f"{where}: {type(error).__name__}: {error}", "hint": "mend the shape"}
    return {"phases": [_options(phase) for phase in phases]}


def _phases(path: Path) -> tuple[Phase, ...]:
    from perfload.load import PhasedShape

    found = {
        item.__name__: item
        for item in vars(_module(path)).values()
        if isinstance(item, type) and issubclass(item, PhasedShape) and not item.abstract
    }
    if not found:
        raise UsageError(
            f"there is no shape in {path}",
            hint="a shape is a class of phases: class LoadTest(PhasedShape): phases = [...]",
        )
    if len(found) > 1:
        raise UsageError(
            f"there are {len(found)} shapes in {path}: {', '.join(found)}", hint="keep one in each file"
        )
    (shape,) = found.values()
    return shape().plan(time_scale=1.0).phases


def _module(path: Path) -> Any:
    """Return the file as a module, loaded as by Locust: by its stem, with its neighbours within reach."""
    sys.path[:0] = [str(path.parent), os.getcwd()]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _options(phase: Phase) -> dict[str, Any]:
    return {field.name: getattr(phase, field.name) for field in dataclasses.fields(phase) if field.init}


if __name__ == "__main__":
    print(json.dumps(_answer(Path(sys.argv[1]))))
