"""Locust's web UI: what it may be told, and by whom."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from perfload.errors import UsageError

logger = logging.getLogger("perfload")


def guard(web_ui: Any, check_host: Callable[[str | None], None]) -> None:
    """Have the UI refuse hosts that are not allowed or do not answer, and posts from other pages."""
    from flask import jsonify, make_response, request

    def refuse() -> Any:
        if request.method == "POST" and not _is_same_origin(request.headers.get("Origin"), request.host):
            return make_response("perfload: this page may not control the load test", 403)
        if request.method == "POST" and request.endpoint == "locust.swarm":
            try:
                check_host(request.form.get("host") or None)
            except UsageError as error:
                logger.error("%s", error)
                return jsonify({"success": False, "message": str(error), "host": web_ui.environment.host})
        return None

    web_ui.app.before_request(refuse)


def _is_same_origin(origin: str | None, host: str) -> bool:
    """Say whether a browser sent the form from the UI's own page; programs send no origin."""
    return origin is None or urlsplit(origin).netloc == host
