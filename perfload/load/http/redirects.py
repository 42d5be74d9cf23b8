"""Where a redirect leads, and what goes along (RFC 9110, 15.4)."""

from __future__ import annotations

from urllib.parse import urljoin

from perfload.load.http.failures import BAD_REDIRECT, RequestFailed
from perfload.load.http.origin import Place
from perfload.load.http.request import Prepared, prepare
from perfload.load.http.response import Response

STATUSES = frozenset({301, 302, 303, 307, 308})

_OF_THE_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location"})
_SECRETS = frozenset({"authorization", "cookie", "proxy-authorization"})


def location_of(response: Response) -> str | None:
    """Return where `response` sends the client, or None."""
    if response.status_code not in STATUSES:
        return None
    return next(iter(response.headers.get_all("location")), None)


def follow(request: Prepared, status: int, location: str) -> tuple[Prepared, bool]:
    """Return the request that comes next, and whether it has the body of `request`.

    Raises `RequestFailed` for a location that is no URL.
    """
    method = request.method
    if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):
        method = "GET"
    keeps_body = method == request.method
    try:
        # Headers are read as Latin-1, locations are written in UTF-8 where they are not ASCII.
        written = location.encode("latin-1").decode("utf-8", "replace")
        place = Place(urljoin(request.url, written.strip()))
        fields = {
            name: value
            for name, value in request.fields.items()
            if (keeps_body or name.lower() not in _OF_THE_BODY)
            and (place.origin is request.origin or name.lower() != "host")
            and (place.origin.keeps_secrets_of(request.origin) or name.lower() not in _SECRETS)
        }
        return prepare(method, place, fields), keeps_body
    except ValueError as error:
        raise RequestFailed(BAD_REDIRECT) from error
