"""Prometheus as a source: each PromQL of the configuration is a series of the report.

What a team already collects is used, not collected twice. Over one connection, `/api/v1/query` is asked for
the value of every query at the time of the read.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import math
import re
import ssl
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from perfload.monitors.base import Finding, Found, Measurement, MonitorUnavailable

TOKEN = "PERFLOAD_PROMETHEUS_TOKEN"  # noqa: S105  # the name of a variable

TIMEOUT_S = 1.0
"""For each step of a question; the sampler's own limit is for all of them together."""
MAX_ANSWER_BYTES = 1_048_576
MAX_SERIES = 20
MAX_NAME_CHARS = 80
MAX_LABEL_CHARS = 60
MAX_METRIC_CHARS = 240
MAX_MESSAGE_CHARS = 160

UNITS = (
    ("_bytes_per_s", "bytes/s"),
    ("_per_s", "1/s"),
    ("_bytes", "bytes"),
    ("_percent", "%"),
    ("_ms", "ms"),
    ("_us", "us"),
    ("_seconds", "s"),
    ("_s", "s"),
    ("_celsius", "°C"),
    ("_watts", "W"),
)
"""The unit by how the name of a query ends; the first that fits."""

_LATEST_TIME_S = 4_102_444_800
_BRACKETS = str.maketrans("[]=,", "(): ")


class Api(Protocol):
    """Who answers queries: an `HttpApi`, or recorded answers in tests."""

    def open(self) -> None:
        """Get ready; raises `MonitorUnavailable` for an address or a token that cannot be used."""

    def ask(self, query: str, at_s: float) -> tuple[int, bytes]:
        """Return HTTP status and body; raises `MonitorUnavailable` when there is no answer at all."""

    def close(self) -> None:
        """Disconnect."""


class PrometheusMonitor:
    """The queries of the configuration; `docs/monitors/prometheus.md` says what becomes of the answers."""

    def __init__(self, api: Api, queries: str) -> None:
        self._api = api
        self._text = queries
        self._queries: dict[str, str] = {}
        self._chosen: dict[str, dict[str, None]] = {}
        self._left_out: dict[str, int] = {}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return a monitor of `PERFLOAD_PROMETHEUS_QUERIES` at `PERFLOAD_PROMETHEUS_URL`."""
        api = HttpApi(environment.get("PERFLOAD_PROMETHEUS_URL", ""), environment.get(TOKEN, ""))
        return cls(api, environment.get("PERFLOAD_PROMETHEUS_QUERIES", ""))

    def open(self) -> None:
        """Read the configuration; the first query connects."""
        self._queries = _parse_queries(self._text)
        self._api.open()

    def close(self) -> None:
        """Disconnect."""
        self._api.close()

    def read(self, at_s: float) -> Found:
        """Return the value of every query at `at_s`, as Prometheus evaluates it then."""
        return [item for name, query in self._queries.items() for item in self._read(name, query, at_s)]

    def _read(self, name: str, query: str, at_s: float) -> list[Measurement | Finding]:
        try:
            samples = _parse_answer(*self._api.ask(query, at_s))
        except _BadQuery as error:
            return [Measurement(name, unit_of(name), None, str(error))]
        series = {_metric(name, sample.labels): sample for sample in samples}
        shown = self._choose(name, series)
        found: list[Measurement | Finding] = [_measurement(name, metric, series[metric]) for metric in shown]
        left_out = len(series) - len(shown)
        if left_out > self._left_out.get(name, 0):
            self._left_out[name] = left_out
            found.append(
                Finding("series_left_out", {"query": name, "shown": len(shown), "left_out": left_out})
            )
        return found

    def _choose(self, name: str, series: Mapping[str, _Sample]) -> list[str]:
        """Return the series to show: those shown before, and the largest others while there is room."""
        chosen = self._chosen.setdefault(name, {})
        for metric in sorted(series, key=lambda metric: _rank(metric, series[metric])):
            if len(chosen) >= MAX_SERIES:
                break
            chosen[metric] = None
        return [metric for metric in chosen if metric in series]


class HttpApi:
    """The HTTP API, through one connection that is kept. Follows no redirect and uses no proxy."""

    def __init__(self, url: str, token: str = "", *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._token = token
        self._timeout_s = timeout_s
        self._path = ""
        self._shown = ""
        self._headers: dict[str, str] = {}
        self._connection: http.client.HTTPConnection | None = None

    def open(self) -> None:
        """Check the address and the token."""
        address = _parse_url(self._url)
        host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
        self._shown = f"{address.scheme}://{host}{f':{address.port}' if address.port else ''}{address.path}"
        self._path = address.path.rstrip("/") + "/api/v1/query?"
        self._headers = {"Accept": "application/json", **_authorization(address, self._token)}
        if address.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                str(address.hostname),
                address.port,
                timeout=self._timeout_s,
                context=ssl.create_default_context(),
            )
        else:
            self._connection = http.client.HTTPConnection(
                str(address.hostname), address.port, timeout=self._timeout_s
            )

    def ask(self, query: str, at_s: float) -> tuple[int, bytes]:
        """Ask one query; an answer that is no answer of Prometheus is a failure of the whole."""
        assert self._connection is not None
        # A little less than we wait, so that a slow query is refused with words and fails alone.
        parameters = {"query": query, "time": f"{at_s:.3f}", "timeout": f"{800 * self._timeout_s:.0f}ms"}
        try:
            self._connection.request("GET", self._path + urlencode(parameters), headers=self._headers)
            response = self._connection.getresponse()
            body = response.read(MAX_ANSWER_BYTES + 1)
        except TimeoutError as error:
            raise MonitorUnavailable(f"{self._shown} does not answer within {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)[:MAX_MESSAGE_CHARS] or type(error).__name__
            raise MonitorUnavailable(f"{self._shown} cannot be reached: {reason}") from error
        if len(body) > MAX_ANSWER_BYTES:
            # The rest would still be on its way at the next question.
            self._connection.close()
        self._refuse(response)
        return response.status, body

    def _refuse(self, response: http.client.HTTPResponse) -> None:
        status = response.status
        if status in (401, 403):
            raise MonitorUnavailable(
                f"{self._shown} refuses the login (HTTP {status})",
                hint=f"set {TOKEN}, or write user and password into the address",
            )
        if 300 <= status < 400:
            raise MonitorUnavailable(
                f"{self._shown} redirects (HTTP {status})", hint="set prometheus.url to where it leads"
            )
        if status not in (200, 400, 422, 503):
            raise MonitorUnavailable(
                f"{self._shown} has no query API (HTTP {status})", hint="is the path of prometheus.url right?"
            )

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class _BadQuery(Exception):
    """Why one query has no value; the others may."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """One series of an answer at one time; `problem` if it is not a number."""

    labels: tuple[tuple[str, str], ...]
    at_s: float
    value: float
    problem: str = ""


def unit_of(name: str) -> str:
    """Return the unit that the name of a query ends with; empty for none that is known."""
    return next((unit for suffix, unit in UNITS if name.endswith(suffix)), "")


def _parse_queries(text: str) -> dict[str, str]:
    try:
        queries = json.loads(text) if text else {}
    except ValueError:
        queries = None
    if not isinstance(queries, dict) or not all(isinstance(query, str) for query in queries.values()):
        raise MonitorUnavailable("the queries are no JSON object of texts", hint='{"name": "PromQL"}')
    if not queries:
        raise MonitorUnavailable("no queries", hint="name them in perfload.toml: [prometheus.queries]")
    for name in queries:
        if not 0 < len(name) <= MAX_NAME_CHARS:
            raise MonitorUnavailable(
                f"the name of a query has 1 to {MAX_NAME_CHARS} characters: {name!r:.40}"
            )
    return queries


def _parse_url(url: str) -> SplitResult:
    hint = 'prometheus.url = "http://prometheus:9090"'
    if not url:
        raise MonitorUnavailable("no address of Prometheus", hint=hint)
    with contextlib.suppress(ValueError):
        address = urlsplit(url)
        # The port is read here, since a bad one raises only then.
        is_web = address.scheme in ("http", "https") and address.hostname and (address.port or True)
        if is_web and not address.query and re.fullmatch(r"[!-~]*", address.path):
            return address
    # Not quoted: it may hold a password.
    raise MonitorUnavailable("prometheus.url is no address of Prometheus", hint=hint)


def _authorization(address: SplitResult, token: str) -> dict[str, str]:
    if token:
        if not re.fullmatch(r"[!-~]+", token):
            raise MonitorUnavailable(f"{TOKEN} holds characters that no header may have")
        return {"Authorization": f"Bearer {token}"}
    if address.username is None:
        return {}
    login = f"{unquote(address.username)}:{unquote(address.password or '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(login).decode('ascii')}"}


def _parse_answer(status: int, body: bytes) -> list[_Sample]:
    if len(body) > MAX_ANSWER_BYTES:
        raise _BadQuery(
            f"the answer is larger than {MAX_ANSWER_BYTES} bytes: ask for fewer series, as by topk()"
        )
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _BadQuery(f"the answer (HTTP {status}) is not that of a Prometheus")
    if status != 200 or answer.get("status") != "success":
        said = answer.get("error")
        message = said if isinstance(said, str) and said else f"HTTP {status}"
        raise _BadQuery(f"Prometheus refuses the query: {message[:MAX_MESSAGE_CHARS]}")
    data = answer.get("data")
    kind, result = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if kind in ("matrix", "string"):
        raise _BadQuery(
            f"the query gives a {'range' if kind == 'matrix' else kind}, not one value for a time"
        )
    if kind == "scalar":
        return [_sample((), result)]
    if kind != "vector" or not isinstance(result, list):
        raise _BadQuery("the answer is in an unknown form")
    if not result:
        raise _BadQuery("no series: does the query match anything?")
    return [_series(series) for series in result]


def _series(series: Any) -> _Sample:
    if not isinstance(series, dict) or not isinstance(labels := series.get("metric"), dict):
        raise _BadQuery("the answer is in an unknown form")
    pairs = tuple(sorted((name, str(value)) for name, value in labels.items() if name != "__name__"))
    if "histogram" in series:
        return _Sample(pairs, 0.0, math.nan, "a native histogram: ask for its histogram_quantile()")
    return _sample(pairs, series.get("value"))


def _sample(labels: tuple[tuple[str, str], ...], pair: Any) -> _Sample:
    try:
        at_s, text = pair
        at_s, value = float(at_s), float(text)
    except (TypeError, ValueError, OverflowError):
        raise _BadQuery("the answer is in an unknown form") from None
    if not isinstance(text, str):
        raise _BadQuery("the answer is in an unknown form")
    if not 0 <= at_s <= _LATEST_TIME_S:
        raise _BadQuery("the answer is of an impossible time")
    problem = "" if math.isfinite(value) else f"Prometheus says {text!s:.8}: a division by 0?"
    return _Sample(labels, at_s, value, problem)


def _metric(name: str, labels: Sequence[tuple[str, str]]) -> str:
    """Return `name`, or `name[job=api,instance=db-1:9100]`: the same series always has the same metric."""
    if not labels:
        return name
    whole = ",".join(f"{_shown(label)}={_shown(value)}" for label, value in labels)
    metric = f"{name}[{whole}]"
    is_whole = all(_shown(text) == text for pair in labels for text in pair)
    if is_whole and len(metric) <= MAX_METRIC_CHARS:
        return metric
    # What was cut off, or replaced, may be all that two series differ in.
    mark = f"#{zlib.crc32(json.dumps(labels).encode()):08x}]"
    return f"{metric[: min(len(metric) - 1, MAX_METRIC_CHARS - len(mark))]}{mark}"


def _shown(text: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in text[:MAX_LABEL_CHARS])
    return printable.translate(_BRACKETS)


def _rank(metric: str, sample: _Sample) -> tuple[float, str]:
    return (math.inf if math.isnan(sample.value) else -sample.value), metric


def _measurement(name: str, metric: str, sample: _Sample) -> Measurement:
    if sample.problem:
        return Measurement(metric, unit_of(name), None, sample.problem)
    return Measurement(metric, unit_of(name), sample.value, at_s=sample.at_s)
