"""A master over workers that are not there, for whatever a test says that they say."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perfload.load.cluster import master
from tests.load.cluster.masters import Master


@pytest.fixture
def make_master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Master]]:
    """Return a function that makes a master over some workers, with a run under way."""
    monkeypatch.setattr(master, "LOOK_S", 0.001)
    # That a test sets the clock forward is not to mean that the master was held up.
    monkeypatch.setattr(master, "STALL_S", 1e9)
    made: list[Master] = []

    def make(workers: int, **options: Any) -> Master:
        made.append(Master(tmp_path, workers, **options))
        made[-1].begin()
        return made[-1]

    yield make
    for each in made:
        each.link.end()
