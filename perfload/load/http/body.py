"""What a request sends: JSON, a form, files, or bytes as they are."""

from __future__ import annotations

import json as json_codec
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson

_AS_JSON_HAS_THEM = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
"""Dates and data classes are no JSON: a scenario that sends them is told so, as by the standard library."""

_BOUNDARY = f"perfload-{secrets.token_hex(16)}"

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def encode_body(data: Any, json: Any, files: Any) -> tuple[bytes | None, str]:
    """Return the body of a request and its `Content-Type`: None and "" when it has none, as Locust chooses.

    `files` is sent with the fields of `data`; `data` goes before `json`.
    """
    if files:
        return _multipart(data or {}, files), f"multipart/form-data; boundary={_BOUNDARY}"
    if not data:
        return (None, "") if json is None else (_json(json), JSON)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), ""
    if isinstance(data, str):
        return data.encode(), ""
    if hasattr(data, "read"):
        content = data.read()
        return content.encode() if isinstance(content, str) else content, ""
    return urlencode(data, doseq=True).encode(), FORM


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, None, _AS_JSON_HAS_THEM)
    except TypeError:
        # What the standard library can do besides: keys that are numbers, numbers of more than 64 bits.
        return json_codec.dumps(value).encode()


def with_params(url: str, params: Any) -> str:
    """Return `url` with `params` (a mapping, pairs or a string) added to its query."""
    if isinstance(params, Mapping):
        params = {name: value for name, value in params.items() if value is not None}
    query = params if isinstance(params, str) else urlencode(params, doseq=True)
    address, hash_sign, fragment = url.partition("#")
    if query:
        address += ("&" if "?" in address else "?") + query
    return f"{address}{hash_sign}{fragment}"


def _multipart(fields: Any, files: Any) -> bytes:
    parts: list[bytes] = []
    for name, value in fields.items() if isinstance(fields, Mapping) else fields:
        parts.append(_part(f'name="{_quoted(name)}"', "", _bytes_of(value)))
    for name, given in files.items() if isinstance(files, Mapping) else files:
        file_name, content, kind = _file(name, given)
        disposition = f'name="{_quoted(name)}"; filename="{_quoted(file_name)}"'
        parts.append(_part(disposition, kind, _bytes_of(content)))
    return b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])


def _part(disposition: str, kind: str, content: bytes) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n"
    if kind:
        head += f"Content-Type: {kind}\r\n"
    return head.encode() + b"\r\n" + content + b"\r\n"


def _file(name: str, given: Any) -> tuple[str, Any, str]:
    """Return (file name, content, type) of what `requests` takes: content, or (name, content[, type])."""
    if isinstance(given, tuple):
        file_name, content, *rest = given
        return file_name, content, rest[0] if rest else ""
    path = getattr(given, "name", name)
    return str(path).rpartition("/")[2], given, ""


def _bytes_of(content: Any) -> bytes:
    if hasattr(content, "read"):
        content = content.read()
    return content if isinstance(content, bytes) else str(content).encode()


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
