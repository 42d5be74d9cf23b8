"""The API of the target: login, and the AI models that a user may list, test and, as administrator, change.

Handlers are functions of the request that wait for the stores only: what else takes time (latency, faults) is
in `middleware`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from perfload.target.accounts import Account, Directory
from perfload.target.asgi import (
    ClientGone,
    HttpError,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    json_response,
    read_body,
    send_response,
)
from perfload.target.repository import AiModel, DuplicateModel, ModelRepository, StoreUnavailable
from perfload.target.routes import allowed_methods, find
from perfload.target.schema import Fields
from perfload.target.sessions import Sessions, TooManyRequests
from perfload.target.tokens import InvalidToken

logger = logging.getLogger(__name__)

_CHALLENGE = ((b"www-authenticate", b"Bearer"),)
_RETRY = ((b"retry-after", b"1"),)
_IDENTIFIER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_IDENTIFIER_RULE = "1 to 128 letters, digits, dots, dashes or underscores, a letter or digit first"
_DEFAULT_SCORE = 50.0


class Api:
    """The ASGI application. `clock` returns seconds since the epoch."""

    def __init__(
        self,
        *,
        accounts: Directory,
        sessions: Sessions,
        repository: ModelRepository,
        clock: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._repository = repository
        self._clock = clock
        self._told: set[str] = set()
        self._handlers: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "login": self._login,
            "me": self._me,
            "available": self._available,
            "test-connection": self._test_connection,
            "performance-metrics": self._performance_metrics,
            "create": self._create,
            "delete": self._delete,
            "health": self._health,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        try:
            response = await self._respond(scope, receive)
        except HttpError as error:
            response = error.response()
        except ClientGone:
            return
        except StoreUnavailable as error:
            response = self._no_answer(str(error))
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            response = json_response({"detail": "internal error"}, HTTPStatus.INTERNAL_SERVER_ERROR)
        await send_response(send, response)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        found = find(scope["method"], scope["path"])
        if found is None:
            raise _no_route(scope["path"])
        route, parameter = found
        body = await read_body(receive) if scope["method"] == "POST" else b""
        return await self._handlers[route.endpoint](Request(dict(scope["headers"]), body, parameter))

    async def _login(self, request: Request) -> Response:
        fields = Fields(request.body)
        email, password = fields.text("email"), fields.text("password")
        fields.check()
        account = await self._accounts.log_in(email, password)
        if account is None:
            raise HttpError(HTTPStatus.UNAUTHORIZED, "wrong email or password", _CHALLENGE)
        token = await self._sessions.open(account.email, self._clock())
        return json_response(
            {"access_token": token, "token_type": "bearer", "expires_in": self._sessions.lifetime_s}
        )

    async def _me(self, request: Request) -> Response:
        account = await self._account(request)
        return json_response({"email": account.email, "role": account.role})

    async def _available(self, request: Request) -> Response:
        account = await self._account(request)
        models = await self._repository.available(account.email)
        return json_response([model.as_json() for model in models])

    async def _test_connection(self, request: Request) -> Response:
        account = await self._account(request)
        fields = Fields(request.body)
        model_id = fields.text("model_id")
        fields.check()
        model = await self._repository.get(model_id)
        if model is None:
            raise _no_model(model_id)
        await self._repository.record_test(model_id, account.email)
        return json_response({"model_id": model_id, "provider": model.provider, "status": "connected"})

    async def _performance_metrics(self, request: Request) -> Response:
        account = await self._account(request)
        metrics = await self._repository.metrics(account.email)
        return json_response({"total_models": len(metrics), "models": metrics})

    async def _create(self, request: Request) -> Response:
        account = await self._administrator(request)
        model = _model_from(request.body)
        try:
            await self._repository.add(model, account.email)
        except DuplicateModel as error:
            raise HttpError(HTTPStatus.CONFLICT, f"model {model.model_id} exists already") from error
        return json_response(model.as_json(), HTTPStatus.CREATED)

    async def _delete(self, request: Request) -> Response:
        await self._administrator(request)
        if not await self._repository.remove(request.parameter):
            raise _no_model(request.parameter)
        return json_response({"model_id": request.parameter, "deleted": True})

    async def _health(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    def _no_answer(self, reason: str) -> Response:
        """Return a 503; each reason is logged once, not once per request."""
        if reason not in self._told:
            self._told.add(reason)
            logger.error("a store gives no answer: %s", reason)
        return json_response({"detail": f"no answer from a store: {reason}"}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def _account(self, request: Request) -> Account:
        scheme, _, token = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise HttpError(HTTPStatus.UNAUTHORIZED, "not authenticated", _CHALLENGE)
        try:
            account = await self._accounts.find(await self._sessions.subject(token.strip(), self._clock()))
        except InvalidToken as error:
            raise HttpError(HTTPStatus.UNAUTHORIZED, str(error), _CHALLENGE) from error
        except TooManyRequests as error:
            raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, "too many requests", _RETRY) from error
        if account is None:
            raise HttpError(HTTPStatus.UNAUTHORIZED, "no such account", _CHALLENGE)
        return account

    async def _administrator(self, request: Request) -> Account:
        account = await self._account(request)
        if account.role != "admin":
            raise HttpError(HTTPStatus.FORBIDDEN, "only an administrator may do this")
        return account


def _model_from(body: bytes) -> AiModel:
    fields = Fields(body)
    model_id = fields.text("model_id", pattern=_IDENTIFIER, rule=_IDENTIFIER_RULE)
    model_name = fields.text("model_name")

    def score(name: str) -> float:
        return fields.number(name, default=_DEFAULT_SCORE, lowest=0, highest=100)

    model = AiModel(
        model_id=model_id,
        provider=fields.text("provider"),
        model_name=model_name,
        display_name=fields.text("display_name", default=model_name),
        quality_score=score("quality_score"),
        speed_score=score("speed_score"),
        cost_efficiency=score("cost_efficiency"),
        reliability_score=score("reliability_score"),
    )
    fields.check()
    return model


def _no_model(model_id: str) -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, f"no model {model_id}")


def _no_route(path: str) -> HttpError:
    methods = allowed_methods(path)
    if not methods:
        return HttpError(HTTPStatus.NOT_FOUND, "not found")
    allow = ((b"allow", ", ".join(methods).encode()),)
    return HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", allow)
