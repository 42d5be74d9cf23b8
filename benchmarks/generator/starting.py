"""Starts tools against nginx and waits until they are under way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator.cases import Case
from benchmarks.generator.child import Child, Failed, cores
from benchmarks.generator.nginx import Nginx
from benchmarks.generator.results import progress
from benchmarks.generator.tools import TOOLS, Load, Tool

WARM_S = 1.0
"""After the last connection: interpreters and their caches get going."""


@dataclass
class Started:
    """Tools that are stopped and can be measured, and why others are not there."""

    children: list[Child]
    problems: dict[str, str]


def missing(names: Sequence[str]) -> dict[str, str]:
    """Return what to do about tools that are not there, by name."""
    return {name: "missing: make bench-setup" for name in names if not TOOLS[name].is_there()}


def start(tool: Tool, load: Load, target: Nginx) -> Child:
    """Start a tool and return when all of its connections are open and it is warm."""
    load.folder.mkdir(parents=True)
    command = tool.command(load)
    before = target.settled_connections()
    child = Child(tool.name, command.argv, core=cores()[1], folder=load.folder, env=command.env)
    needed = before + tool.connects(load.users)
    try:
        child.wait_for(lambda: target.connections() >= needed, f"{load.users} connections", 60.0)
        time.sleep(WARM_S)
    except BaseException:
        child.kill()
        raise
    return child


@contextmanager
def started(names: Sequence[str], case: Case, users: int, target: Nginx, folder: Path) -> Iterator[Started]:
    """Start these tools, one after the other, and stop each when it is under way; kill them at the end."""
    found = Started([], missing(names))
    try:
        for name in names:
            if name in found.problems:
                continue
            progress(f"    starting {name}")
            load = Load(target.base_url(case), case, users, folder / name.replace(" ", "-").replace(",", ""))
            try:
                child = start(TOOLS[name], load, target)
            except Failed as error:
                found.problems[name] = str(error)
                progress(f"    {error}")
                continue
            child.pause()
            found.children.append(child)
        yield found
    finally:
        for child in found.children:
            child.kill()
