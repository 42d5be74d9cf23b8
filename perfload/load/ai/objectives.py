"""What an answer has to meet to count as a good one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from perfload.errors import UsageError
from perfload.load.ai.answer import Answer
from perfload.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class Objectives:
    """Upper bounds in milliseconds; an answer is good if it is whole and meets all that are not None."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is not None and not limit > 0:
                raise UsageError(f"the objective {field.name} is {limit!r}", hint="write a number above 0")

    @classmethod
    def of(cls, given: Objectives | str) -> Objectives:
        """Return `given`, or the preset of that name; raises `UsageError` for a name that is none."""
        if isinstance(given, Objectives):
            return given
        if given not in PRESETS:
            hint = f"{did_you_mean(given, tuple(PRESETS))}Known: {', '.join(PRESETS)}"
            raise UsageError(f"there are no objectives named {given!r}", hint=hint)
        return PRESETS[given]

    def are_met(self, answer: Answer) -> bool:
        """Return whether `answer` is whole and meets every objective.

        A time per token that cannot be known because nobody counted the tokens is not met; an answer of one
        token, and one that came at once, has none to meet.
        """
        if not answer.ok:
            return False
        tpot_ms = answer.tpot_ms
        if tpot_ms is None and (not answer.is_streamed or answer.output_tokens in (0, 1)):
            tpot_ms = 0.0
        return all(
            limit is None or (value is not None and value <= limit)
            for limit, value in (
                (self.ttft_ms, answer.ttft_ms),
                (self.tpot_ms, tpot_ms),
                (self.e2e_ms, answer.e2e_ms),
            )
        )


PRESETS: Mapping[str, Objectives] = MappingProxyType(
    {
        "llama2-70b": Objectives(2000, 200),
        "llama2-70b-interactive": Objectives(450, 40),
        "llama3.1-8b": Objectives(2000, 100),
        "llama3.1-8b-interactive": Objectives(500, 30),
        "llama3.1-405b": Objectives(6000, 175),
        "llama3.1-405b-interactive": Objectives(4500, 80),
        "mixtral-8x7b": Objectives(2000, 200),
        "deepseek-r1": Objectives(2000, 80),
        "deepseek-r1-interactive": Objectives(1500, 15),
        "gpt-oss-120b": Objectives(3000, 80),
        "gpt-oss-120b-interactive": Objectives(2000, 15),
        "qwen3-vl-235b-a22b": Objectives(e2e_ms=12_000),
    }
)
"""Those of MLPerf Inference, Server and Interactive. MLPerf asks for them at the 99th percentile.

Source: `loadgen/mlperf.conf` of https://github.com/mlcommons/inference, as of v6.1. MLPerf's written rules
differ in one: they allow the interactive GPT-OSS 20 ms a token.
"""
