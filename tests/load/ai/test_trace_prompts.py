"""What is asked for the requests of a trace: as long as it was, and the same where it was the same."""

from collections.abc import Sequence
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.load.ai import TracePrompts
from perfload.load.ai.prompts import WORDS
from perfload.trace import BLOCK_TOKENS, TraceRequest

pytestmark = pytest.mark.ai

PROMPTS = TracePrompts()


def words(tokens: int, blocks: Sequence[int] = (), prompts: TracePrompts = PROMPTS) -> list[str]:
    return prompts.make(TraceRequest(0.0, tokens, 7, tuple(blocks))).text.split(" ")


@given(st.integers(1, 5000), st.lists(st.integers(), max_size=10))
def test_a_prompt_has_a_word_for_each_token(tokens: int, blocks: list[int]) -> None:
    found = words(tokens, blocks)
    assert len(found) == tokens
    assert set(found) <= set(WORDS)


def test_the_answer_is_to_be_as_long_as_it_was() -> None:
    prompt = PROMPTS.make(TraceRequest(0.0, 3, 120))
    assert (prompt.max_tokens, prompt.system, len(prompt.turns)) == (120, "", 1)


@given(st.integers(0, 4), st.integers(1, BLOCK_TOKENS), st.integers(1, BLOCK_TOKENS))
def test_equal_ids_at_the_start_are_an_equal_start(shared: int, one: int, other: int) -> None:
    ids = list(range(100, 100 + shared))
    first = words(shared * BLOCK_TOKENS + one, [*ids, 1])
    second = words(shared * BLOCK_TOKENS + other, [*ids, 2])
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    assert shared * BLOCK_TOKENS <= alike <= shared * BLOCK_TOKENS + 16


def test_a_block_that_is_cut_short_begins_as_the_whole_one() -> None:
    whole = words(2 * BLOCK_TOKENS, [5, 6])
    for tokens in (1, 15, 16, 17, BLOCK_TOKENS - 1, BLOCK_TOKENS, BLOCK_TOKENS + 1, 2 * BLOCK_TOKENS - 1):
        assert words(tokens, [5, 6]) == whole[:tokens]
    assert words(100, [5, 6, 7]) == whole[:100]  # more ids than there is text for


def test_every_load_generator_has_the_same_text_for_an_id() -> None:
    assert words(600, [8, 9]) == words(600, [8, 9], TracePrompts())
    assert words(600, [8, 9]) != words(600, [8, 9], TracePrompts(seed=1))


def test_text_without_ids_is_new_each_time() -> None:
    starts = {tuple(words(40)) for _ in range(200)}
    assert len(starts) == 200
    begun = [words(BLOCK_TOKENS + 40, [3]) for _ in range(50)]
    assert {tuple(found[:BLOCK_TOKENS]) for found in begun} == {tuple(words(BLOCK_TOKENS, [3]))}
    assert len({tuple(found[BLOCK_TOKENS:]) for found in begun}) == 50


def test_ids_are_told_apart_whatever_their_size() -> None:
    ids = [0, 1, -1, 2**31, 2**63, 2**64, 10**40]
    assert len({tuple(words(64, [one])) for one in ids}) == len(ids)
