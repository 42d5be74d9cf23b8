"""Who writes the answers: texts, thoughts, calls of tools and JSON, drawn from a seed."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace

from perfload.target.ai import json_schema
from perfload.target.ai.question import DEFAULT_THINKING_TOKENS, MAX_OUTPUT_TOKENS, Form, Question, Tool
from perfload.target.ai.reply import Call, Choice, Reply, Stop
from perfload.target.ai.spread import Spread
from perfload.target.ai.words import as_tokens, some_words

_STOPS = {"function": Stop.TOOL, "custom": Stop.TOOL, "legacy": Stop.LEGACY_TOOL}


@dataclass(frozen=True, slots=True)
class Author:
    """Draws answers."""

    tokens: Spread
    thinking: Spread | None = None
    """Tokens of thought before every answer; None: only where the request asks for it."""
    cached_share: float = 0.0

    def write(self, question: Question, source: random.Random, *, declines: bool = False) -> Reply:
        """Return the answer to `question`; `declines`: one that says that there will be none."""
        choices = [self._choice(question, source, declines=declines) for _ in range(question.choices)]
        cached = int(question.input_tokens * self.cached_share)
        return Reply(question=question, choices=choices, cached_tokens=cached)

    def _choice(self, question: Question, source: random.Random, *, declines: bool) -> Choice:
        limit = MAX_OUTPUT_TOKENS // question.choices
        limit = limit if question.max_tokens is None else min(limit, question.max_tokens)
        thinking = min(self._thinking_tokens(question, source), limit)
        wanted = max(self.tokens.draw_count(source), question.min_tokens - thinking)
        left = limit - thinking
        choice = Choice(
            thinking=some_words(thinking, source),
            odds_seed=0 if question.alternatives is None else source.getrandbits(32),
        )
        if declines:
            return replace(choice, refusal=some_words(min(wanted, left), source), stop=Stop.REFUSED)
        if question.calls:
            return _with_calls(choice, question, left, source)
        if question.form is not None:
            written = _filled(question.form, wanted, source)
            is_cut = len(written) > left
            content = written[:left]
        else:
            is_cut = wanted > left or question.ignores_end or question.min_tokens >= limit
            content = some_words(left if is_cut else wanted, source)
        return _stopped(replace(choice, content=content, stop=Stop.LENGTH if is_cut else Stop.END), question)

    def _thinking_tokens(self, question: Question, source: random.Random) -> int:
        drawn = 0 if self.thinking is None else self.thinking.draw_count(source, 0)
        if question.thinking_budget is None:
            return drawn
        return min(drawn or DEFAULT_THINKING_TOKENS, question.thinking_budget)


def _with_calls(choice: Choice, question: Question, left: int, source: random.Random) -> Choice:
    """Return `choice` with the calls that fit into `left` tokens; the last one may be cut off."""
    calls: list[Call] = []
    for tool in question.calls:
        arguments = _arguments(tool, source)
        if left < 1:
            return replace(choice, calls=calls, stop=Stop.LENGTH)
        calls.append(Call(tool, arguments[: left - 1]))
        if left <= len(arguments):
            return replace(choice, calls=calls, stop=Stop.LENGTH)
        left -= 1 + len(arguments)
    stop = _STOPS[question.calls[0].kind]
    return replace(
        choice, calls=calls, stop=Stop.NAMED_TOOL if question.is_named and stop is Stop.TOOL else stop
    )


def _arguments(tool: Tool, source: random.Random) -> list[str]:
    if tool.kind == "custom":
        return some_words(8, source)
    return _json_tokens(json_schema.value(tool.schema, source))


def _filled(form: Form, tokens: int, source: random.Random) -> list[str]:
    """Return JSON: for a schema as long as that wants it, else of about `tokens`."""
    if form.schema is None:
        return _json_tokens({"answer": "".join(some_words(max(1, tokens - 1), source))})
    return _json_tokens(json_schema.value(form.schema, source))


def _json_tokens(value: object) -> list[str]:
    return as_tokens(json.dumps(value, ensure_ascii=False))


def _stopped(choice: Choice, question: Question) -> Choice:
    """Return `choice`, ended before the first of the texts that the request wants it to end at."""
    if not question.stops:
        return choice
    text = "".join(choice.content)
    # As with vLLM, nothing ends an answer that is shorter than asked for.
    needed = max(0, question.min_tokens - len(choice.thinking))
    begin = sum(map(len, choice.content[:needed]))
    found = [(at, stop) for stop in question.stops if (at := text.find(stop, begin)) >= 0]
    if not found:
        return choice
    at, stop = min(found)
    return replace(choice, content=as_tokens(text[:at]), stop=Stop.SEQUENCE, stop_sequence=stop)
