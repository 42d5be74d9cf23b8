"""Users of language models: one class for each of the two ways of asking."""

from __future__ import annotations

import functools
import itertools
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

import gevent
from gevent import GreenletExit

from perfload.errors import UsageError
from perfload.load.ai import anthropic_wire, openai_wire, retrying, spending
from perfload.load.ai.answer import Answer, Thought
from perfload.load.ai.budget import Cap
from perfload.load.ai.conversation import Conversation, Message
from perfload.load.ai.figures import Figure, figures_of, figures_of_attempt, limit_of
from perfload.load.ai.json_values import parsed
from perfload.load.ai.objectives import Objectives
from perfload.load.ai.prices import Price
from perfload.load.ai.quoting import make_presentable
from perfload.load.ai.reading import AnswerTimeouts, Wire, read
from perfload.load.ai.standing import Standing
from perfload.load.ai.terms import Terms
from perfload.load.ai.tools import Tool, Tools
from perfload.load.http.failures import CUT_OFF, RequestFailed
from perfload.load.http.response import Response
from perfload.load.users import HttpUser

LIMITED_SUFFIX = " (limited)"
"""Behind the names of requests that met a limit, where that is no failure: their times are no answers'."""


class _Request(NamedTuple):
    """What is asked, once or several times."""

    payload: dict[str, Any]
    headers: dict[str, str]
    name: str | None
    timeouts: AnswerTimeouts


class AIUser(HttpUser):
    """What users of both providers have in common. docs/ai.md has the interface and the metrics."""

    abstract = True

    model: ClassVar[str] = ""
    api_path: ClassVar[str] = ""
    """Behind the host; its `/v1` is left out when the host ends in that already."""
    key_variable: ClassVar[str] = ""
    """The variable of `.env.performance` or the environment with the API key; none is sent if it is empty."""
    default_key: ClassVar[str] = ""
    """Sent if the variable is not set: for test servers that anybody may use."""
    max_tokens: ClassVar[int] = 256
    """Of an answer whose request does not say."""
    answer_timeouts: ClassVar[AnswerTimeouts] = AnswerTimeouts()
    retries: ClassVar[int] = 0
    """How often a request that was refused for a while, or got no response, is made again."""
    max_retry_wait_s: ClassVar[float] = 60.0
    limits_are_failures: ClassVar[bool] = True
    """False counts those who met a limit under a name of their own, as requests that did what they should."""
    objectives: ClassVar[Objectives | str | None] = None
    """What a good answer meets, or the name of a preset."""
    prices: ClassVar[Mapping[str, Any] | str | Path | None] = None
    """Of a million tokens, by model; or the path of a JSON file that has them."""
    max_cost: ClassVar[float | None] = None
    """In the currency of `prices`, for the whole load."""
    max_tokens_total: ClassVar[int | None] = None
    """Input and output of the whole load together."""

    _wire: ClassVar[Wire]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        from perfload import load

        key = load.setting(self.key_variable) if self.key_variable else ""
        self._key = (key or self.default_key).strip()
        self._headers = self._authorization(self._key)
        path = urlsplit(self.host or "").path.rstrip("/")
        self._path = self.api_path.removeprefix("/v1") if path.endswith("/v1") else self.api_path

    @classmethod
    def perfload_check(cls) -> None:
        """Raise `UsageError` for prices, a cap or objectives that make no sense; called before the load."""
        _terms_of(cls)

    @classmethod
    def perfload_cap(cls) -> Cap:
        """Return the most that the whole load may spend; called before it."""
        return _terms_of(cls).cap

    def chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        stream: bool = True,
        name: str | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        tools: Tools = (),
        system: str = "",
        timeouts: AnswerTimeouts | None = None,
        retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        """Ask, wait for the answer to its end, record its metrics and return it; look at `answer.ok`.

        A text is one message of the user. `headers` are sent besides those with the key. `options` go into
        the request as they are; None takes a field that is sent otherwise away. Raises `StopUser` once the
        spending cap is reached.
        """
        model = model or self.model
        if not model:
            raise UsageError(f"{type(self).__name__} names no model", hint='write model = "…" in the class')
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        limit = self.max_tokens if max_tokens is None else max_tokens
        payload = self._payload(model, said, system, limit, tools, stream=stream) | options
        payload = {field: value for field, value in payload.items() if value is not None}
        sent = self._headers | dict(headers or {})
        request = _Request(payload, sent, name, timeouts or self.answer_timeouts)
        return self._try(request, self.retries if retries is None else retries)

    def conversation(self, **options: Any) -> Conversation:
        """Return a conversation of several turns; `options` are those of `chat`."""
        return Conversation(self, **options)

    # --- what providers differ in

    def _authorization(self, key: str) -> dict[str, str]:
        raise NotImplementedError

    def _payload(
        self, model: str, messages: list[Any], system: str, max_tokens: int, tools: Tools, *, stream: bool
    ) -> dict[str, Any]:
        raise NotImplementedError

    def said(self, answer: Answer) -> Message:
        """Return the message that `answer` is, as a later request has it."""
        raise NotImplementedError

    def results(self, by_call: Mapping[str, str]) -> list[Message]:
        """Return what came of the calls of tools, by their `id`, as a later request has it."""
        raise NotImplementedError

    # --- requests

    def _try(self, request: _Request, spare: int) -> Answer:
        """Ask until there is an answer, `spare` times more at most; record the last one."""
        terms = _terms_of(type(self))
        price = terms.price_of(str(request.payload["model"]))
        answer: Answer | None = None
        try:
            for attempt in itertools.count():
                spending.check(self, terms.cap)
                answer = self._new_answer(request.payload, attempt)
                standing = self._ask(request, answer, price)
                if attempt >= spare or not retrying.may_succeed_later(answer):
                    break
                gevent.sleep(retrying.wait_s(standing, attempt, self.max_retry_wait_s))
        finally:
            # Also one that is given up, or behind which another try was to come.
            if answer is not None and answer.is_counted:
                _record(figures_of(answer, price, terms.objectives))
                if spare:
                    _record([Figure("retries", "requests", (answer.retries,))])
        assert answer is not None
        return answer

    def _new_answer(self, payload: Mapping[str, Any], attempt: int) -> Answer:
        is_streamed, choices = bool(payload.get("stream")), _whole(payload.get("n"), 1)
        now_ns = time.perf_counter_ns()
        return Answer(now_ns, self._due_ns(), is_streamed, choices=choices, retries=attempt)

    def _ask(self, request: _Request, answer: Answer, price: Price | None) -> Standing:
        payload, timeouts, is_streamed = request.payload, request.timeouts, answer.is_streamed
        try:
            with self.client.post(
                self._path,
                json=payload,
                headers=request.headers,
                name=request.name,
                stream=is_streamed,
                catch_response=True,
                allow_redirects=False,  # the key is for this host
                timeout=timeouts.of_request(is_streamed=is_streamed),
            ) as response:
                answer.sent_ns, answer.is_sent = response.call.began_ns, response.call.is_sent
                read(response, self._wire, answer, timeouts)
                make_presentable(answer, self._key)
                self._mark(response, answer)
        except BaseException as end:
            _give_up(answer, end)
            raise
        finally:
            # Also for what nobody waits for any more: it has been sent.
            spending.spend(answer, price, partial(_sent_bytes, payload), self._most_tokens(payload))
        standing = Standing.of(response.headers)
        _record(figures_of_attempt(answer, standing))
        return standing

    def _due_ns(self) -> int | None:
        """Return when the first request of an arrival was to be made; None for any other request."""
        from perfload.load import plugin

        visit = self.perfload_visit
        node = plugin.installed.node if plugin.installed else None
        if visit is None or node is None or not visit.is_first:
            return None
        return int(node.clock.zero_ns + visit.due_s * 1e9)

    def _mark(self, response: Response, answer: Answer) -> None:
        if answer.ok:
            response.success()
        elif limit_of(answer) and not self.limits_are_failures:
            response.request_meta["name"] += LIMITED_SUFFIX
            response.success()
        else:
            response.failure(RequestFailed(answer.error))

    def _most_tokens(self, payload: Mapping[str, Any]) -> int:
        """Return how many tokens the answer to `payload` may have."""
        stated = (payload.get(field) for field in ("max_tokens", "max_completion_tokens"))
        most = next((value for value in stated if value is not None), self.max_tokens)
        return _whole(most, self.max_tokens) * _whole(payload.get("n"), 1)


class OpenAIUser(AIUser):
    """A user of chat completions: OpenAI's, or those of any compatible server.

    `host` is the address with or without the path in front of `/v1`. The key is `OPENAI_TEST_API_KEY`.
    """

    abstract = True

    api_path = "/v1/chat/completions"
    key_variable = "OPENAI_TEST_API_KEY"
    max_tokens_field: ClassVar[str] = "max_tokens"
    """OpenAI's own reasoning models want `max_completion_tokens`."""
    asks_for_usage: ClassVar[bool] = True
    """Whether streams are asked to end with a count of tokens; few servers refuse that."""
    _wire: ClassVar[Wire] = openai_wire

    def _authorization(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _payload(
        self, model: str, messages: list[Any], system: str, max_tokens: int, tools: Tools, *, stream: bool
    ) -> dict[str, Any]:
        head = [{"role": "system", "content": system}] if system else []
        return {
            "model": model,
            "messages": head + messages,
            self.max_tokens_field: max_tokens,
            "tools": [tool.for_openai() if isinstance(tool, Tool) else tool for tool in tools] or None,
            "stream": stream,
            "stream_options": {"include_usage": True} if stream and self.asks_for_usage else None,
        }

    def said(self, answer: Answer) -> Message:
        """Return the message that `answer` is, as a later request has it."""
        calls = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in answer.calls.values()
        ]
        message: Message = {"role": "assistant", "content": answer.text()}
        return {**message, "tool_calls": calls} if calls else message

    def results(self, by_call: Mapping[str, str]) -> list[Message]:
        """Return what came of the calls of tools, by their `id`, as a later request has it."""
        return [{"role": "tool", "tool_call_id": call, "content": text} for call, text in by_call.items()]


class AnthropicUser(AIUser):
    """A user of Anthropic's messages. The key is `ANTHROPIC_TEST_API_KEY`."""

    abstract = True

    api_path = "/v1/messages"
    key_variable = "ANTHROPIC_TEST_API_KEY"
    anthropic_version: ClassVar[str] = "2023-06-01"
    _wire: ClassVar[Wire] = anthropic_wire

    def _authorization(self, key: str) -> dict[str, str]:
        return {"anthropic-version": self.anthropic_version} | ({"x-api-key": key} if key else {})

    def _payload(
        self, model: str, messages: list[Any], system: str, max_tokens: int, tools: Tools, *, stream: bool
    ) -> dict[str, Any]:
        return {
            "model": model,
            "messages": messages,
            "system": system or None,
            "max_tokens": max_tokens,
            "tools": [tool.for_anthropic() if isinstance(tool, Tool) else tool for tool in tools] or None,
            "stream": stream,
        }

    def said(self, answer: Answer) -> Message:
        """Return the message that `answer` is, as a later request has it."""
        text = answer.text()
        blocks: list[Any] = [_as_block(thought) for _, thought in sorted(answer.thoughts.items())]
        blocks += [{"type": "text", "text": text}] if text else []
        for call in answer.calls.values():
            given = parsed(call["arguments"]) or {}
            blocks.append({"type": "tool_use", "id": call["id"], "name": call["name"], "input": given})
        return {"role": "assistant", "content": blocks}

    def results(self, by_call: Mapping[str, str]) -> list[Message]:
        """Return what came of the calls of tools, by their `id`, as a later request has it."""
        blocks = [
            {"type": "tool_result", "tool_use_id": call, "content": text} for call, text in by_call.items()
        ]
        return [{"role": "user", "content": blocks}]


@functools.cache
def _terms_of(user_class: type[AIUser]) -> Terms:
    from perfload.load import plugin

    assert plugin.installed is not None
    config = plugin.installed.config
    cap = Cap(config.ai_max_cost or math.inf, config.ai_max_tokens or math.inf)
    return Terms.of(user_class, cap, config.ai_prices)


def _as_block(thought: Thought) -> dict[str, str]:
    """Return reasoning as it came: Anthropic refuses the results of tools without it."""
    if thought.redacted:
        return {"type": "redacted_thinking", "data": thought.redacted}
    return {"type": "thinking", "thinking": "".join(thought.parts), "signature": thought.signature}


def _give_up(answer: Answer, end: BaseException) -> None:
    """Note that nobody waited for `answer`, whose user was stopped, or whose scenario had had enough.

    Before there is a response, `GreenletExit` itself ends a request that has not been sent, and its subclass
    of the client one that has; any error but a timeout is the scenario's mistake.
    """
    is_stop = isinstance(end, GreenletExit)
    if answer.status or isinstance(end, gevent.Timeout) or (is_stop and type(end) is not GreenletExit):
        answer.fail(CUT_OFF)
    elif is_stop:
        answer.is_sent = False


def _sent_bytes(payload: Mapping[str, Any]) -> int:
    """Return how much text a request holds."""
    said = [payload[field] for field in ("system", "messages", "tools") if field in payload]
    return len(json.dumps(said, ensure_ascii=False, default=str).encode("utf-8", "replace"))


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and value > 0 else otherwise


def _record(figures: Iterable[Figure]) -> None:
    from perfload import load

    for metric, unit, values in figures:
        load.record_values(metric, values, unit)
