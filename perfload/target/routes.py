"""The target's endpoints by method and path: the one table that routing, latencies and the truth share."""

from __future__ import annotations

from dataclasses import dataclass

API_PREFIX = "/api/"
UNMATCHED = "other requests"
"""Under this the truth counts what no route answers: one row, whatever paths a client makes up."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. `endpoint` is its short name, as in `--latency login=80ms`."""

    endpoint: str
    method: str
    template: str

    @property
    def name(self) -> str:
        """Method and template: `DELETE /api/ai-models/{id}`."""
        return f"{self.method} {self.template}"


ROUTES = (
    Route("login", "POST", "/api/auth/login"),
    Route("me", "GET", "/api/auth/me"),
    Route("available", "GET", "/api/ai-models/available"),
    Route("test-connection", "POST", "/api/ai-models/test-connection"),
    Route("performance-metrics", "GET", "/api/ai-models/performance-metrics"),
    Route("create", "POST", "/api/ai-models/create"),
    Route("delete", "DELETE", "/api/ai-models/{id}"),
    Route("health", "GET", "/health"),
    # Answered by perfload.target.ai before they get to the API.
    Route("chat-completions", "POST", "/v1/chat/completions"),
    Route("messages", "POST", "/v1/messages"),
    Route("count-tokens", "POST", "/v1/messages/count_tokens"),
    Route("models", "GET", "/v1/models"),
    Route("model", "GET", "/v1/models/{id}"),
)

_PARAMETER = "{id}"
_EXACT = {(route.method, route.template): route for route in ROUTES if _PARAMETER not in route.template}
_PREFIXED = tuple(
    (route.method, route.template.removesuffix(_PARAMETER), route)
    for route in ROUTES
    if _PARAMETER in route.template
)


def find(method: str, path: str) -> tuple[Route, str] | None:
    """Return the route of a request and the value of its parameter ("" without one), or None."""
    exact = _EXACT.get((method, path))
    if exact is not None:
        return exact, ""
    for route_method, prefix, route in _PREFIXED:
        if method == route_method and path.startswith(prefix):
            parameter = path[len(prefix) :]
            if parameter and "/" not in parameter:
                return route, parameter
    return None


def allowed_methods(path: str) -> list[str]:
    """Return the methods that some route answers at `path`, sorted; empty when the path is unknown."""
    methods = {route.method for route in ROUTES}
    return sorted(method for method in methods if find(method, path) is not None)
