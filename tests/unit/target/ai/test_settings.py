from __future__ import annotations

import argparse

import pytest

from perfload.errors import UsageError
from perfload.target.ai.settings import AiSettings, add_options, read
from perfload.target.ai.spread import Spread

pytestmark = pytest.mark.ai


def settings(*options: str, **environ: str) -> AiSettings:
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument_group("AI APIs"))
    return read(parser.parse_args(options), environ)


def test_without_options_the_defaults_are_those_of_the_class() -> None:
    assert settings() == AiSettings()


def test_every_option() -> None:
    found = settings(
        *("--ai-ttft", "300ms/0.3", "--ai-gap", "10ms+-2ms", "--ai-tokens", "50", "--ai-chunk", "4"),
        *("--ai-reasoning", "30", "--ai-prefill", "100ms", "--ai-cached", "50%", "--ai-slots", "8"),
        *("--ai-queue", "0", "--ai-slowdown", "1%", "--ai-rpm", "60", "--ai-tpm", "1000"),
        *("--ai-fault", "cut=5%", "--ai-fault", "rate_limit=1%", "--ai-stall", "2s", "--ai-model", "a"),
        *("--ai-model", "b", "--ai-context", "1000", "--ai-raw", "5", "--ai-key-env", "MY_KEY"),
        *("--ai-quirk", "crlf,bom", "--ai-quirk", "no-done"),
        MY_KEY="secret",
    )
    assert found == AiSettings(
        ttft=Spread(0.3, sigma=0.3),
        gap=Spread(0.01, deviation=0.002),
        tokens=Spread(50),
        chunk=Spread(4),
        thinking=Spread(30),
        prefill_s=0.1,
        cached_share=0.5,
        slots=8,
        queue=0,
        slowdown=0.01,
        requests_per_minute=60,
        tokens_per_minute=1000,
        fault_shares={"cut": 0.05, "rate_limit": 0.01},
        quirks=frozenset({"crlf", "bom", "no-done"}),
        stall_s=2.0,
        models=("a", "b"),
        context_tokens=1000,
        raw_streams=5,
        key="secret",
    )
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    "options",
    [
        ("--ai-ttft", "soon"),
        ("--ai-gap", "5ms/9"),
        ("--ai-tokens", "-5"),
        ("--ai-slots", "0"),
        ("--ai-slots", "1.5"),
        ("--ai-rpm", "many"),
        ("--ai-cached", "150%"),
        ("--ai-fault", "cut"),
        ("--ai-fault", "nothing=1%"),
        ("--ai-stall", "x"),
        ("--ai-quirk", "nothing"),
        ("--ai-key-env", "NOT_SET"),
    ],
)
def test_what_is_wrong_is_named(options: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=options[0]):
        settings(*options)


def test_the_help_can_be_rendered() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument_group("AI APIs"))
    text = parser.format_help()
    assert "(default: 100/0.4)" in text
    assert "rate_limit=5%;" in text
