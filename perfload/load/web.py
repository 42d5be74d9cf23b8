"""Locust's web UI: what it may be told, and by whom."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from perfload.errors import UsageError

logger = logging.getLogger("perfload")


ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104  # recognised here, not bound to


def guard(web_ui: Any, check_start: Callable[[str | None], None]) -> None:
    """Let nobody but the UI's own pages in, and start no run that `check_start` refuses.

    Locust answers every page of every site that the browser has open. A request must name this UI as its host
    (a name that an attacker points here does not), and come from one of its own pages or from a program.
    """
    from flask import jsonify, make_response, request

    def refuse() -> Any:
        if not is_own_host(request.host, web_ui.host):
            return make_response("perfload: this is not the web UI's address", 403)
        if not _is_same_origin(request.headers.get("Origin"), request.host):
            return make_response("perfload: this page may not control the load test", 403)
        if request.method == "POST" and request.endpoint == "locust.swarm":
            try:
                check_start(request.form.get("host") or None)
            except UsageError as error:
                logger.error("%s", error)
                return jsonify({"success": False, "message": str(error), "host": web_ui.environment.host})
        return None

    web_ui.app.before_request(refuse)


def is_own_host(host: str, listens_on: str) -> bool:
    """Say whether a request for `host` means this UI; every name does if it listens on all addresses."""
    name = urlsplit(f"//{host}").hostname or ""
    return listens_on in ANY_ADDRESS or name in (listens_on, "localhost", "127.0.0.1", "::1")


def _is_same_origin(origin: str | None, host: str) -> bool:
    """Say whether a browser sent the request from the UI's own page; programs send no origin."""
    return origin is None or urlsplit(origin).netloc == host
