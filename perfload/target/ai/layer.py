"""`/v1/*`: who may ask, what is refused, and answers, at once or streamed. Other paths go to the next layer.

The order of the checks is that of the real servers: the key, the fault that is to be, the request itself, the
model, the limits of the key, a place in the batch.
"""

from __future__ import annotations

import hmac
import logging
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from perfload.target.ai import faults, refusal
from perfload.target.ai.anthropic import Anthropic
from perfload.target.ai.batch import Batch
from perfload.target.ai.faults import Fault, FaultSource
from perfload.target.ai.limits import RateLimits
from perfload.target.ai.openai import OpenAi
from perfload.target.ai.pacer import Pacer
from perfload.target.ai.provider import HeaderList, Identity, Provider
from perfload.target.ai.question import Question
from perfload.target.ai.refusal import Refusal
from perfload.target.ai.reply import Author, Chunk, Reply
from perfload.target.ai.settings import AiSettings
from perfload.target.ai.stream import Connection, Gaps, Pause, Stream, broken
from perfload.target.ai.truth import FINISHED, GONE, AiTruth, Tape
from perfload.target.asgi import Application, ClientGone, HttpError, Receive, Scope, Send, read_body
from perfload.target.middleware import RECEIVED_NS

logger = logging.getLogger(__name__)

AI_PREFIX = "/v1/"
CONNECTION = "perfload.connection"
"""Key of the scope under which the server hands over the connection of the request."""
KEY_PREFIX = "sk-test"
DEFAULT_MODELS = ("perfload-small", "perfload-large")
MAX_BODY_BYTES = 32 << 20

_MODELS = "/v1/models"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_EVENT_STREAM: HeaderList = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]


@dataclass(slots=True)
class _Ask:
    """One request on its way through the layer."""

    scope: Scope
    receive: Receive
    send: Send
    headers: Mapping[bytes, bytes]
    provider: Provider
    identity: Identity
    received_ns: int
    source: random.Random
    key: str = ""


class AiLayer:
    """The emulator. `clock_ns` is `time.perf_counter_ns`; `wall_clock` returns seconds since the epoch."""

    def __init__(
        self,
        app: Application,
        settings: AiSettings,
        truth: AiTruth,
        *,
        seed: int,
        clock_ns: Callable[[], int],
        wall_clock: Callable[[], float],
    ) -> None:
        self._app = app
        self._settings = settings
        self._truth = truth
        self._seed = seed
        self._clock_ns = clock_ns
        self._wall_clock = wall_clock
        self._author = Author(settings.tokens, settings.thinking, settings.cached_share)
        self._faults = FaultSource(settings.fault_shares, stall_s=settings.stall_s, seed=seed)
        self._limits = RateLimits(settings.requests_per_minute, settings.tokens_per_minute)
        self._batch = Batch(settings.slots, settings.queue, settings.slowdown)
        self._pacer = Pacer(clock_ns)
        self._openai, self._anthropic = OpenAi(), Anthropic()
        self._number = 0
        self._started_s = int(wall_clock())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if not scope["path"].startswith(AI_PREFIX):
            await self._app(scope, receive, send)
            return
        ask = self._ask(scope, receive, send)
        try:
            await self._answer(ask)
        except Refusal as error:
            await self._refuse(ask, error)
        except HttpError as error:
            await self._refuse(ask, Refusal(refusal.TOO_LARGE, str(error.detail)))
        except RecursionError:
            await self._refuse(ask, Refusal(refusal.BAD_REQUEST, "The body is nested too deeply."))
        except ClientGone:
            return
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            raise

    def _ask(self, scope: Scope, receive: Receive, send: Send) -> _Ask:
        headers = dict(scope["headers"])
        self._number += 1
        number = self._number
        # Not by what the path says alone: both providers list their models at the same one.
        is_anthropic = scope["path"].startswith("/v1/messages") or b"anthropic-version" in headers
        asked_id = headers.get(b"x-request-id", b"").decode("latin-1")
        unique = f"{self._seed:x}{number:020x}"
        identity = Identity(
            answer_id=f"msg_{unique}" if is_anthropic else f"chatcmpl-{unique}",
            request_id=asked_id if _REQUEST_ID.fullmatch(asked_id) else f"req_{unique}",
            created_s=int(self._wall_clock()),
        )
        return _Ask(
            scope=scope,
            receive=receive,
            send=send,
            headers=headers,
            provider=self._anthropic if is_anthropic else self._openai,
            identity=identity,
            received_ns=scope.get(RECEIVED_NS) or self._clock_ns(),
            source=random.Random(f"{self._seed}:ai:{number}"),
        )

    async def _answer(self, ask: _Ask) -> None:
        method, path = ask.scope["method"], ask.scope["path"]
        is_question = path in ("/v1/chat/completions", "/v1/messages")
        if not is_question and path != _MODELS and not path.startswith(f"{_MODELS}/"):
            raise Refusal(refusal.UNKNOWN_URL)
        if method != ("POST" if is_question else "GET"):
            raise Refusal(refusal.METHOD)
        body = await read_body(ask.receive, MAX_BODY_BYTES) if is_question else b""
        ask.key = self._checked_key(ask)
        if not is_question:
            await self._send(
                ask, 200, self._models(ask.provider, path.removeprefix(_MODELS).removeprefix("/"))
            )
            return
        fault = self._faults.next(ask.headers)
        if fault is not None:
            self._truth.figures(ask.provider.name).faults[fault.name] += 1
            if fault.name in refusal.ON_DEMAND:
                raise Refusal(refusal.ON_DEMAND[fault.name], retry_after_s=_retry_after_s(fault))
        question = self._checked(ask.provider.question(body, ask.headers))
        reply = self._author.write(question, ask.source)
        self._limits.take(ask.key, question.input_tokens + reply.output_tokens, self._clock_ns() / 1e9)
        await self._reply(ask, reply, fault)

    def _checked_key(self, ask: _Ask) -> str:
        key = ask.provider.key(ask.headers)
        named = self._settings.key
        is_named = bool(named) and hmac.compare_digest(key.encode(), named.encode())
        if not key.startswith(KEY_PREFIX) and not is_named:
            raise Refusal(refusal.AUTHENTICATION)
        return key

    def _checked(self, question: Question) -> Question:
        known = self._settings.models
        if known and question.model not in known:
            raise Refusal(refusal.NOT_FOUND)
        limit = self._settings.context_tokens
        if question.input_tokens > limit:
            message = f"prompt is too long: {question.input_tokens} tokens > {limit} maximum"
            raise Refusal(refusal.CONTEXT, message, param="messages")
        return question

    def _models(self, provider: Provider, name: str) -> bytes:
        models = self._settings.models or DEFAULT_MODELS
        if not name:
            return provider.models(models, self._started_s)
        if name not in models:
            raise Refusal(refusal.NOT_FOUND)
        return provider.model(name, self._started_s)

    async def _reply(self, ask: _Ask, reply: Reply, fault: Fault | None) -> None:
        has_waited = await self._batch.enter()
        try:
            begun_ns = self._clock_ns() if has_waited else ask.received_ns
            figures = self._truth.figures(ask.provider.name)
            figures.input_tokens += reply.question.input_tokens
            figures.cached_tokens += reply.cached_tokens
            if has_waited:
                figures.queue.record((begun_ns - ask.received_ns) // 1000)
            uncached = reply.question.input_tokens - reply.cached_tokens
            ttft_s = self._settings.ttft.draw(ask.source) + self._settings.prefill_s * uncached / 1000
            first_ns = begun_ns + int(ttft_s * 1e9)
            if reply.question.is_streamed:
                await self._stream(ask, reply, fault, first_ns)
            else:
                await self._at_once(ask, reply, fault, first_ns)
        finally:
            self._batch.leave()

    async def _at_once(self, ask: _Ask, reply: Reply, fault: Fault | None, first_ns: int) -> None:
        gaps = Gaps(self._settings.gap, ask.source, self._batch)
        chunks = sum(1 for _ in reply.chunks(self._settings.chunk, ask.source))
        due_ns = first_ns + sum(gaps.next_ns() for _ in range(chunks))
        pause = Pause()
        self._pacer.add(due_ns + _stall_ns(fault), pause)
        await pause.done
        name = fault.name if fault else ""
        if name == faults.STREAM_ERROR:
            raise Refusal(refusal.SERVER_ERROR)
        figures = self._truth.figures(ask.provider.name)
        figures.answers += 1
        figures.output_tokens += reply.output_tokens
        body = ask.provider.body(reply, ask.identity)
        half = body[: len(body) // 2]
        if name == faults.MALFORMED:
            body = half
        await self._send(ask, 200, body, sent=half if name in (faults.CUT, faults.EARLY_END) else None)

    async def _stream(self, ask: _Ask, reply: Reply, fault: Fault | None, first_ns: int) -> None:
        stream, tape = self._prepared(ask, reply, fault)
        head = {
            "type": "http.response.start",
            "status": 200,
            "headers": [*_EVENT_STREAM, *self._headers(ask)],
        }
        await ask.send(head)
        tape.opened_ns = self._clock_ns()
        opening = ask.provider.opening(reply, ask.identity)
        await ask.send({"type": "http.response.body", "body": opening, "more_body": True})
        self._pacer.add(first_ns, stream)
        # Cancelled (the target stops), the future is: the stream sees that and sends no more.
        how = await stream.done
        if how not in (GONE, faults.CUT):
            await ask.send({"type": "http.response.body", "body": b"", "more_body": False})

    def _prepared(self, ask: _Ask, reply: Reply, fault: Fault | None) -> tuple[Stream, Tape]:
        provider, identity = ask.provider, ask.identity
        connection: Connection = ask.scope[CONNECTION]
        tape = self._truth.begin(provider.name, identity.request_id, ask.received_ns)
        chunks: Iterable[Chunk] = reply.chunks(self._settings.chunk, ask.source)
        half, ends_as, stall = 1, FINISHED, (-1, 0)
        if fault is not None:
            chunks = list(chunks)
            half = max(1, len(chunks) // 2)
        frames = provider.frames(reply, identity, chunks)
        if fault is not None and fault.name == faults.STALL:
            stall = (half, _stall_ns(fault))
        elif fault is not None:
            error = provider.error_event(Refusal(refusal.OVERLOADED), identity.request_id)
            frames = broken(frames, half, fault.name, error, provider.malformed_event())
            ends_as = FINISHED if fault.name == faults.MALFORMED else fault.name
        gaps = Gaps(self._settings.gap, ask.source, self._batch)
        stream = Stream(
            connection,
            frames,
            gaps,
            tape=tape,
            truth=self._truth,
            clock_ns=self._clock_ns,
            ends_as=ends_as,
            stall=stall,
        )
        return stream, tape

    async def _refuse(self, ask: _Ask, error: Refusal) -> None:
        provider = ask.provider
        self._truth.figures(provider.name).refused[error.kind.name] += 1
        headers: HeaderList = []
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
        await self._send(ask, provider.status(error), provider.error(error, ask.identity.request_id), headers)

    async def _send(
        self,
        ask: _Ask,
        status: int,
        body: bytes,
        headers: HeaderList | None = None,
        *,
        sent: bytes | None = None,
    ) -> None:
        """Send a whole answer; `sent`, if given, is all of its body that really goes out."""
        own: HeaderList = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        own += [*(headers or ()), *self._headers(ask)]
        await ask.send({"type": "http.response.start", "status": status, "headers": own})
        shown = body if sent is None else sent
        await ask.send({"type": "http.response.body", "body": shown, "more_body": sent is not None})

    def _headers(self, ask: _Ask) -> HeaderList:
        request_id = ask.identity.request_id.encode()
        headers = [(name, request_id) for name in sorted({b"x-request-id", ask.provider.request_id_header})]
        if ask.key:
            standing = self._limits.standing(ask.key, self._clock_ns() / 1e9)
            headers += ask.provider.limit_headers(standing, self._wall_clock())
        return headers


def _stall_ns(fault: Fault | None) -> int:
    return int(fault.stall_s * 1e9) if fault and fault.name == faults.STALL else 0


def _retry_after_s(fault: Fault) -> float | None:
    return 1.0 if fault.name in ("rate_limit", "overloaded") else None
