import logging
import socket
import time
from collections.abc import Iterator

import pytest

from perfload.errors import ExitCode, TargetUnreachable, UsageError
from perfload.hosts import HostRules
from perfload.load import guard
from perfload.load.guard import check_host, wait_for_target


@pytest.fixture
def port() -> Iterator[tuple[socket.socket, str]]:
    """A port that is ours and refuses connections until `listen` is called on its socket."""
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        yield owner, f"http://127.0.0.1:{owner.getsockname()[1]}"


Port = tuple[socket.socket, str]


def test_a_run_without_a_host_says_how_to_name_one() -> None:
    with pytest.raises(UsageError) as caught:
        check_host("", HostRules())
    assert caught.value.message == "no host to test"
    assert "--host http://localhost:8000" in caught.value.hint


def test_a_host_that_nobody_allowed_is_refused_with_the_way_to_allow_it() -> None:
    with pytest.raises(UsageError) as caught:
        check_host("https://prod.example.com", HostRules(["*.test.example.com"]))
    assert caught.value.message == "load may not go to prod.example.com"
    assert caught.value.hint.endswith("or pass --allow-host prod.example.com")
    check_host("https://prod.example.com", HostRules(["prod.example.com"]))


def test_a_target_that_answers_is_let_through_at_once(port: Port) -> None:
    owner, url = port
    owner.listen()
    began_s = time.monotonic()
    wait_for_target(url, wait_s=60.0)
    assert time.monotonic() - began_s < guard.RETRY_S


def test_without_waiting_one_refusal_is_enough(port: Port) -> None:
    _, url = port
    began_s = time.monotonic()
    with pytest.raises(TargetUnreachable) as caught:
        wait_for_target(url, wait_s=0.0)
    assert time.monotonic() - began_s < guard.RETRY_S
    assert caught.value.message == f"nothing answers at {url}: connection refused"
    assert caught.value.hint == (
        "start the system under test, correct --host, or give it time with --wait-for-target 60s"
    )
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_target_that_never_comes_is_given_up_when_the_time_is_over(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "RETRY_S", 0.01)
    _, url = port
    began_s = time.monotonic()
    with pytest.raises(TargetUnreachable) as caught:
        wait_for_target(url, wait_s=0.1)
    assert 0.1 <= time.monotonic() - began_s < 3.0
    assert caught.value.message == f"nothing answers at {url} within 100 ms: connection refused"


def test_a_target_that_comes_while_waiting_is_let_through(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "RETRY_S", 0.01)
    owner, url = port

    class StartsTheTarget(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            owner.listen()

    handler = StartsTheTarget()
    guard.logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, logger=guard.logger.name):
            wait_for_target(url, wait_s=60.0)
    finally:
        guard.logger.removeHandler(handler)
    assert caplog.messages == [f"waiting up to 60 s for {url} (connection refused)"]


def test_a_name_that_does_not_exist_is_a_reason_and_its_password_is_hidden() -> None:
    with pytest.raises(TargetUnreachable) as caught:
        wait_for_target("http://user:secret@nowhere.invalid", wait_s=0.0)
    assert caught.value.message.startswith("nothing answers at http://***@nowhere.invalid: ")
    assert "secret" not in str(caught.value)


def test_a_target_that_takes_a_connection_and_says_nothing_does_answer(port: Port) -> None:
    owner, url = port
    owner.listen(0)
    wait_for_target(url, wait_s=0.0)
