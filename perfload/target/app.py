"""The API of the target: login, and the AI models that a user may list, test and, as administrator, change.

Handlers are plain functions of the request: what takes time (latency, faults) is in `middleware`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from perfload.target.accounts import Account, Accounts
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
from perfload.target.repository import AiModel, DuplicateModel, ModelRepository
from perfload.target.routes import allowed_methods, find
from perfload.target.schema import Fields
from perfload.target.tokens import InvalidToken, TokenIssuer

logger = logging.getLogger(__name__)

_CHALLENGE = ((b"www-authenticate", b"Bearer"),)
_IDENTIFIER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_IDENTIFIER_RULE = "1 to 128 letters, digits, dots, dashes or underscores, a letter or digit first"
_DEFAULT_SCORE = 50.0


class Api:
    """The ASGI application. `clock` returns seconds since the epoch."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        tokens: TokenIssuer,
        repository: ModelRepository,
        clock: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._repository = repository
        self._clock = clock
        self._handlers: dict[str, Callable[[Request], Response]] = {
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
        return self._handlers[route.endpoint](Request(dict(scope["headers"]), body, parameter))

    def _login(self, request: Request) -> Response:
        fields = Fields(request.body)
        email, password = fields.text("email"), fields.text("password")
        fields.check()
        account = self._accounts.log_in(email, password)
        if account is None:
            raise HttpError(HTTPStatus.UNAUTHORIZED, "wrong email or password", _CHALLENGE)
        token = self._tokens.issue(account.email, self._clock())
        return json_response(
            {"access_token": token, "token_type": "bearer", "expires_in": self._tokens.lifetime_s}
        )

    def _me(self, request: Request) -> Response:
        account = self._account(request)
        return json_response({"email": account.email, "role": account.role})

    def _available(self, request: Request) -> Response:
        self._account(request)
        return json_response([model.as_json() for model in self._repository.all()])

    def _test_connection(self, request: Request) -> Response:
        self._account(request)
        fields = Fields(request.body)
        model_id = fields.text("model_id")
        fields.check()
        model = self._repository.get(model_id)
        if model is None:
            raise _no_model(model_id)
        self._repository.record_test(model_id)
        return json_response({"model_id": model_id, "provider": model.provider, "status": "connected"})

    def _performance_metrics(self, request: Request) -> Response:
        self._account(request)
        metrics = [
            {
                "model_id": model.model_id,
                "connection_tests": self._repository.tests_of(model.model_id),
                "quality_score": model.quality_score,
                "speed_score": model.speed_score,
                "reliability_score": model.reliability_score,
            }
            for model in self._repository.all()
        ]
        return json_response({"total_models": len(metrics), "models": metrics})

    def _create(self, request: Request) -> Response:
        self._administrator(request)
        model = _model_from(request.body)
        try:
            self._repository.add(model)
        except DuplicateModel as error:
            raise HttpError(HTTPStatus.CONFLICT, f"model {model.model_id} exists already") from error
        return json_response(model.as_json(), HTTPStatus.CREATED)

    def _delete(self, request: Request) -> Response:
        self._administrator(request)
        if not self._repository.remove(request.parameter):
            raise _no_model(request.parameter)
        return json_response({"model_id": request.parameter, "deleted": True})

    def _health(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    def _account(self, request: Request) -> Account:
        scheme, _, token = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise HttpError(HTTPStatus.UNAUTHORIZED, "not authenticated", _CHALLENGE)
        try:
            account = self._accounts.find(self._tokens.subject(token.strip(), self._clock()))
        except InvalidToken as error:
            raise HttpError(HTTPStatus.UNAUTHORIZED, str(error), _CHALLENGE) from error
        if account is None:
            raise HttpError(HTTPStatus.UNAUTHORIZED, "no such account", _CHALLENGE)
        return account

    def _administrator(self, request: Request) -> Account:
        account = self._account(request)
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
