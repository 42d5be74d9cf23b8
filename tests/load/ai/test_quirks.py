"""Users of both providers against the emulator that does everything real servers do beside the format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from perfload.load import OpenAIUser
from perfload.target.ai import quirks
from perfload.target.process import TargetProcess
from tests.load.ai.conftest import BOTH, Site

pytestmark = pytest.mark.ai

TOKENS = 12
EVERYTHING = ",".join(name for name in quirks.NAMES if name not in {quirks.CR, quirks.NO_USAGE})


@pytest.fixture(scope="module")
def target() -> Iterator[TargetProcess]:
    times = ("--ai-ttft", "10ms", "--ai-gap", "2ms", "--ai-tokens", str(TOKENS), "--ai-reasoning", "4")
    with TargetProcess(*times) as process:
        yield process


@BOTH
@pytest.mark.parametrize("name", [*quirks.NAMES, EVERYTHING])
def test_an_answer_is_whole_all_the_same(
    site: Site, target: TargetProcess, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[Any]
) -> None:
    for variable in ("OPENAI_TEST_API_KEY", "ANTHROPIC_TEST_API_KEY"):
        monkeypatch.setenv(variable, "sk-test-quirks")
    user = site.user(kind, host=target.url)
    user._headers = {**user._headers, "X-Perfload-Quirk": name}
    target.reset_truth()
    answer = user.chat("Hello")
    assert (answer.ok, answer.error) == (True, "")
    assert len(answer.text().split()) == TOKENS
    assert len(answer.text("reasoning").split()) == 4
    assert answer.finish_reason in {"stop", "end_turn"}
    counts_nothing = name == quirks.NO_USAGE and kind is OpenAIUser
    assert answer.output_tokens == (None if counts_nothing else 4 + TOKENS)
    figures = target.truth()["ai"]["openai" if kind is OpenAIUser else "anthropic"]
    assert (figures["ended"], figures["output_tokens"]) == ({"finished": 1}, 4 + TOKENS)
    # A piece is a chunk, in whatever writes it came: two of them in one, where events are merged.
    assert len(answer.piece_ns) == 4 + TOKENS
