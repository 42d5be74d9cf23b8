"""What is recorded of an answer: metrics by name, for the histograms of its second and phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from perfload.load.ai.answer import Answer
from perfload.load.ai.objectives import Objectives
from perfload.load.ai.prices import Price
from perfload.load.ai.standing import Standing

Limit = Literal["rate_limited", "overloaded", ""]
NO_QUOTA = "insufficient_quota"
"""OpenAI's word for an account without money: a 429 that no waiting mends."""

FINISH_REASONS = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool",
    "function_call": "tool",
    "tool_use": "tool",
    "content_filter": "refusal",
    "refusal": "refusal",
}
"""Both providers' words for the same; any other is `other`, so that no server chooses how many there are."""

LONGEST_INPUT = 2**20
"""Inputs of so many tokens or more are counted together: no server chooses how many metrics there are."""

COST_UNIT = "millionths"
"""Of the currency of the price table: metrics keep three decimals, and a token costs less than that."""


class Figure(NamedTuple):
    """Values of one metric."""

    metric: str
    unit: str
    values: Sequence[float]


def figures_of(
    answer: Answer, price: Price | None = None, objectives: Objectives | None = None
) -> Iterator[Figure]:
    """Yield what an answer that has ended adds to the metrics: latencies and tokens only if it is whole."""
    if answer.ok:
        yield from _latencies(answer)
        yield from _first_token_by_input(answer)
        yield from _tokens(answer)
        reason = FINISH_REASONS.get(answer.finish_reason, "other")
        yield Figure(f"finish_{reason}", "answers", (1,))
    cost = price.cost_of(answer.usage) if price else None
    if cost is not None:
        # A provider takes money for what it has generated, whether or not it arrived.
        yield Figure("cost", COST_UNIT, (cost * 1e6,))
    if objectives is not None:
        yield Figure("good", "%", (100 if objectives.are_met(answer) else 0,))


def limit_of(answer: Answer) -> Limit:
    """Return which limit the request met: the client's own rate, or what the server can do at all."""
    if answer.status == 429 and NO_QUOTA not in answer.error:
        return "rate_limited"
    # A 503 may be anything; who is overloaded says so.
    if answer.status == 529 or (answer.status == 503 and "overloaded" in answer.error):
        return "overloaded"
    return ""


def figures_of_attempt(answer: Answer, standing: Standing) -> Iterator[Figure]:
    """Yield what one request adds to the metrics, whatever became of it."""
    if answer.status:
        met = limit_of(answer)
        yield Figure("rate_limited", "%", (100 if met == "rate_limited" else 0,))
        yield Figure("overloaded", "%", (100 if met == "overloaded" else 0,))
    if standing.requests is not None:
        yield Figure("remaining_requests", "requests", (standing.requests,))
    if standing.tokens is not None:
        yield Figure("remaining_tokens", "tokens", (standing.tokens,))


def _latencies(answer: Answer) -> Iterator[Figure]:
    streamed = (("ttft", answer.ttft_ms), ("ttfo", answer.ttfo_ms), ("tpot", answer.tpot_ms))
    for name, value in (*(streamed if answer.is_streamed else ()), ("e2e", answer.e2e_ms)):
        if value is not None:
            yield Figure(name, "ms", (value,))
    if answer.is_streamed and len(answer.piece_ns) > 1:
        yield Figure("icl", "ms", answer.gaps_ms)
    if any(answer.read_delay_ns):  # without the kernel's stamps nobody knows
        yield Figure("read_delay", "ms", [delay_ns / 1e6 for delay_ns in answer.read_delay_ns])
        yield Figure("blurred", "%", (100 if answer.is_blurred else 0,))


def _first_token_by_input(answer: Answer) -> Iterator[Figure]:
    """Yield TTFT under the power of two at or below the length of the input: 512 for 512 to 1,023 tokens."""
    tokens = answer.usage.input_tokens
    if tokens is None or answer.ttft_ms is None or not answer.is_streamed:
        return
    from_tokens = 1 << (min(max(1, tokens), LONGEST_INPUT).bit_length() - 1)
    yield Figure(f"ttft_input_{from_tokens}", "ms", (answer.ttft_ms,))


def _tokens(answer: Answer) -> Iterator[Figure]:
    usage = answer.usage
    counts = (
        ("input_tokens", usage.input_tokens),
        ("cached_tokens", usage.cached_tokens),
        ("output_tokens", usage.output_tokens),
        ("reasoning_tokens", usage.reasoning_tokens),
    )
    for name, count in counts:
        if count is not None:
            yield Figure(name, "tokens", (count,))
    if usage.output_tokens is None:
        yield Figure("uncounted_answers", "answers", (1,))
    if answer.is_streamed and answer.tokens_per_piece is not None:
        yield Figure("tokens_per_chunk", "tokens", (answer.tokens_per_piece,))
    if answer.output_tokens_per_s is not None:
        yield Figure("output_tokens_per_s", "tokens/s", (answer.output_tokens_per_s,))
    if answer.is_streamed and answer.input_tokens_per_s is not None:
        yield Figure("input_tokens_per_s", "tokens/s", (answer.input_tokens_per_s,))
