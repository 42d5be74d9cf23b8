"""Tests of `perfload.load`, which patches the process that imports it: `pytest tests/load`, on their own."""

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import monkey

with warnings.catch_warnings():
    # Plugins of pytest that happen to be installed have imported `ssl` by now; no test here uses theirs.
    warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
    monkey.patch_all()

from locust import User
from locust.env import Environment

HERE = Path(__file__).parent

DEADLINE_S = 10.0
"""After this long a test that waits has failed; no test waits so long when all is well."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    others = [item.nodeid for item in items if not item.path.is_relative_to(HERE)]
    if others:
        raise pytest.UsageError(f"tests/load patches the process: run it without {others[0]} and the like")


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """Fail a test that hangs, with the line on which it does."""
    with gevent.Timeout(DEADLINE_S):
        yield


@pytest.fixture
def default_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let users be made as if a Locust process without any configuration of its own had begun."""
    from perfload.config import load_config
    from perfload.load import plugin

    config = load_config(directory=tmp_path, environ={}, flags={})
    monkeypatch.setattr(plugin.installed, "_config", config)


@pytest.fixture
def make_environment() -> Iterator[Callable[..., Any]]:
    """Return a function that makes a real Locust environment with a local runner for some user classes."""
    made: list[Environment] = []

    def make(*user_classes: type[User]) -> Environment:
        environment = Environment(user_classes=list(user_classes))
        environment.create_local_runner()
        made.append(environment)
        return environment

    yield make
    for environment in made:
        environment.runner.quit()


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds, looking at it every millisecond."""
    until_s = time.monotonic() + DEADLINE_S / 2
    while not condition():
        assert time.monotonic() < until_s, "it did not come true"
        gevent.sleep(0.001)  # not 0: a loop that is never idle starves what comes from threads
