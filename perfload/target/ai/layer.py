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
from collections.abc import Callable
from dataclasses import replace

from perfload.target.ai import quirks, refusal
from perfload.target.ai.anthropic import Anthropic
from perfload.target.ai.author import Author
from perfload.target.ai.delivery import Delivery
from perfload.target.ai.exchange import Exchange
from perfload.target.ai.faults import REFUSAL, Fault, FaultSource
from perfload.target.ai.limits import RateLimits
from perfload.target.ai.openai import OpenAi
from perfload.target.ai.provider import HeaderList, Identity
from perfload.target.ai.question import Question
from perfload.target.ai.refusal import Refusal
from perfload.target.ai.settings import AiSettings
from perfload.target.ai.truth import AiTruth
from perfload.target.asgi import Application, ClientGone, HttpError, Receive, Scope, Send, read_body
from perfload.target.middleware import RECEIVED_NS

logger = logging.getLogger(__name__)

AI_PREFIX = "/v1/"
KEY_PREFIX = "sk-test"
DEFAULT_MODELS = ("perfload-small", "perfload-large")
MAX_BODY_BYTES = 32 << 20

_CHAT = "/v1/chat/completions"
_MESSAGES = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"
_MODELS = "/v1/models"
_METHODS = {_CHAT: "POST", _MESSAGES: "POST", _COUNT: "POST", _MODELS: "GET"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


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
        self._delivery = Delivery(settings, truth, clock_ns)
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

    def _ask(self, scope: Scope, receive: Receive, send: Send) -> Exchange:
        headers = dict(scope["headers"])
        self._number += 1
        number = self._number
        # Not by what the path says alone: both providers list their models at the same one.
        path = scope["path"]
        is_anthropic = path.startswith(_MESSAGES) or (path != _CHAT and b"anthropic-version" in headers)
        asked_id = headers.get(b"x-request-id", b"").decode("latin-1")
        unique = f"{self._seed:x}{number:020x}"
        identity = Identity(
            answer_id=f"msg_{unique}" if is_anthropic else f"chatcmpl-{unique}",
            request_id=asked_id if _REQUEST_ID.fullmatch(asked_id) else f"req_{unique}",
            created_s=int(self._wall_clock()),
            quirks=self._settings.quirks,
        )
        return Exchange(
            scope=scope,
            receive=receive,
            send=send,
            headers=headers,
            provider=self._anthropic if is_anthropic else self._openai,
            identity=identity,
            received_ns=scope.get(RECEIVED_NS) or self._clock_ns(),
            source=random.Random(f"{self._seed}:ai:{number}"),
        )

    async def _answer(self, ask: Exchange) -> None:
        method, path = ask.scope["method"], ask.scope["path"]
        wanted = "GET" if path.startswith(f"{_MODELS}/") else _METHODS.get(path)
        if wanted is None:
            raise Refusal(refusal.UNKNOWN_URL)
        if method != wanted:
            raise Refusal(refusal.METHOD)
        body = await read_body(ask.receive, MAX_BODY_BYTES) if wanted == "POST" else b""
        ask.key = self._checked_key(ask)
        if wanted == "GET":
            await ask.send_whole(200, self._models(ask), self._limit_headers(ask))
        elif path == _COUNT:
            await ask.send_whole(200, self._anthropic.token_count(body, ask.headers))
        else:
            await self._converse(ask, body)

    async def _converse(self, ask: Exchange, body: bytes) -> None:
        fault = self._faults.next(ask.headers)
        if fault is not None:
            self._truth.figures(ask.provider.name).faults[fault.name] += 1
            if fault.name in refusal.ON_DEMAND:
                raise Refusal(refusal.ON_DEMAND[fault.name], retry_after_s=_retry_after_s(fault))
        if (asked := ask.headers.get(quirks.QUIRK_HEADER)) is not None:
            ask.identity = replace(ask.identity, quirks=quirks.asked(asked))
        question = self._checked(ask.provider.question(body, ask.headers))
        # A seed makes the same text whoever asks, and when; the times are still the request's own.
        is_seeded = question.seed is not None
        source = random.Random(f"{self._seed}:ai seed:{question.seed}") if is_seeded else ask.source
        is_declined = fault is not None and fault.name == REFUSAL
        reply = self._author.write(question, source, declines=is_declined)
        self._limits.take(ask.key, question.input_tokens + reply.output_tokens, self._clock_ns() / 1e9)
        await self._delivery.send(ask, reply, fault, self._limit_headers(ask))

    def _checked_key(self, ask: Exchange) -> str:
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

    def _models(self, ask: Exchange) -> bytes:
        models = self._settings.models or DEFAULT_MODELS
        name = ask.scope["path"].removeprefix(_MODELS).removeprefix("/")
        if not name:
            return ask.provider.models(models, self._started_s, ask.scope.get("query_string", b""))
        if name not in models:
            raise Refusal(refusal.NOT_FOUND)
        return ask.provider.model(name, self._started_s)

    def _limit_headers(self, ask: Exchange) -> HeaderList:
        standing = self._limits.standing(ask.key, self._clock_ns() / 1e9)
        return ask.provider.limit_headers(standing, self._wall_clock())

    async def _refuse(self, ask: Exchange, error: Refusal) -> None:
        provider = ask.provider
        self._truth.figures(provider.name).refused[error.kind.name] += 1
        headers = self._limit_headers(ask) if ask.key else []
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
        body = provider.error(error, ask.identity.request_id)
        await ask.send_whole(provider.status(error), body, headers)


def _retry_after_s(fault: Fault) -> float | None:
    return 1.0 if fault.name in ("rate_limit", "overloaded") else None
