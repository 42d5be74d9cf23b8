"""How the emulator behaves: `--ai-…` on the command line of `perfload target`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field

from perfload.errors import UsageError
from perfload.target.ai import faults, quirks
from perfload.target.ai.spread import Spread, counts, durations, share
from perfload.units import parse_duration_s

DESCRIPTION = (
    "POST /v1/chat/completions and POST /v1/messages answer as OpenAI and Anthropic do, streamed or not, for "
    "any key that begins with sk-test. SPREAD is a constant (20ms), log-normal as median/sigma (20ms/0.4) or "
    "normal as mean+-deviation (20ms+-4ms); all are drawn from --seed. A word is a token. See "
    "docs/ai-emulator.md."
)
_MOST = 1_000_000
_TTFT, _GAP, _TOKENS, _CHUNK = Spread(0.2), Spread(0.02), Spread(100, sigma=0.4), Spread(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AiSettings:
    """All of it; the defaults are those of the command line."""

    ttft: Spread = _TTFT
    """Seconds from a place in the batch to the first token."""
    gap: Spread = _GAP
    """Seconds from one chunk to the next."""
    tokens: Spread = _TOKENS
    """Of the text of an answer."""
    chunk: Spread = _CHUNK
    """Tokens sent at once."""
    thinking: Spread | None = None
    prefill_s: float = 0.0
    """Added to the time to first token for every 1,000 input tokens that are not cached."""
    cached_share: float = 0.0
    slots: int = 1024
    queue: int = 1024
    slowdown: float = 0.0
    """By which part of itself every other stream in the batch makes a gap longer."""
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    fault_shares: Mapping[str, float] = field(default_factory=dict)
    quirks: frozenset[str] = frozenset()
    """What every stream does beside the format."""
    stall_s: float = 10.0
    models: tuple[str, ...] = ()
    """Those there are; none: a model of any name."""
    context_tokens: int = 200_000
    raw_streams: int = 1000
    key: str = field(default="", repr=False)
    """One more key that is accepted."""


_TIMES = (
    ("--ai-ttft", "SPREAD", "200ms", "time to first token, from a place in the batch on"),
    ("--ai-gap", "SPREAD", "20ms", "time from one chunk of a stream to the next"),
    ("--ai-tokens", "SPREAD", "100/0.4", "length of an answer, in tokens; max_tokens cuts it off"),
    ("--ai-chunk", "SPREAD", "1", "tokens in a chunk, as servers that decode several at once have them"),
    ("--ai-prefill", "DURATION", "0", "added to the time to first token per 1,000 input tokens not cached"),
    ("--ai-cached", "SHARE", "0", "share of the input tokens that is reported as read from a cache: 50%"),
    ("--ai-stall", "DURATION", "10s", "how long the fault stall lasts"),
)
_BOUNDS = (
    ("--ai-slots", "N", "1024", "streams in the batch at a time; the others wait in a queue"),
    ("--ai-queue", "N", "1024", "length of it; who comes then is told that the server is overloaded"),
    ("--ai-slowdown", "SHARE", "0", "by this part of it, each other stream lengthens a gap: 1%"),
    ("--ai-rpm", "N", "0", "requests a minute that a key may make, else 429; 0: no limit"),
    ("--ai-tpm", "N", "0", "tokens a minute, input and output, that a key may use, else 429; 0: no limit"),
    ("--ai-context", "N", "200000", "input tokens above which a request is refused"),
    ("--ai-raw", "N", "1000", "streams whose times GET /_truth/ai has write by write: the last ones"),
)


def add_options(group: argparse._ArgumentGroup) -> None:
    """Add the options, whose values `read` understands."""
    for option, metavar, default, text in (*_TIMES, *_BOUNDS):
        shown = f"{text} (default: {default})".replace("%", "%%")
        group.add_argument(option, metavar=metavar, default=default, help=shown)
    group.add_argument(
        "--ai-reasoning",
        metavar="SPREAD",
        help="tokens of reasoning before every answer (default: 20 where the request asks for it, else none)",
    )
    _add_departures(group)
    _add_admission(group)


def _add_departures(group: argparse._ArgumentGroup) -> None:
    """Add what makes answers other than they should be, or than clients expect."""
    group.add_argument(
        "--ai-fault",
        metavar="NAME=SHARE",
        action="append",
        default=[],
        help="share of the requests that goes wrong in this way, such as rate_limit=5%%; repeat it for more: "
        f"{', '.join(faults.NAMES)}. A request may ask for one itself with the header X-Perfload-Fault: NAME",
    )
    group.add_argument(
        "--ai-quirk",
        metavar="NAME[,NAME]",
        action="append",
        default=[],
        help="something that streams of real servers do beside the format, repeatable: "
        f"{', '.join(quirks.NAMES)}. A request may ask for it itself with the header X-Perfload-Quirk: NAME",
    )


def _add_admission(group: argparse._ArgumentGroup) -> None:
    """Add who is let in, and to what."""
    group.add_argument(
        "--ai-model",
        metavar="NAME",
        action="append",
        default=[],
        help="a model there is, repeatable (default: any)",
    )
    group.add_argument(
        "--ai-key-env",
        metavar="VARIABLE",
        help="environment variable with one more key that is accepted",
    )


def read(arguments: argparse.Namespace, environ: Mapping[str, str]) -> AiSettings:
    """Return the settings that the options name; raises `UsageError`."""
    reasoning = arguments.ai_reasoning
    return AiSettings(
        ttft=durations(arguments.ai_ttft, "--ai-ttft"),
        gap=durations(arguments.ai_gap, "--ai-gap"),
        tokens=counts(arguments.ai_tokens, "--ai-tokens"),
        chunk=counts(arguments.ai_chunk, "--ai-chunk"),
        thinking=None if reasoning is None else counts(reasoning, "--ai-reasoning"),
        prefill_s=parse_duration_s(arguments.ai_prefill, "--ai-prefill"),
        cached_share=share(arguments.ai_cached, "--ai-cached"),
        slots=_number(arguments.ai_slots, "--ai-slots", least=1),
        queue=_number(arguments.ai_queue, "--ai-queue"),
        slowdown=share(arguments.ai_slowdown, "--ai-slowdown"),
        requests_per_minute=_number(arguments.ai_rpm, "--ai-rpm", most=10**9),
        tokens_per_minute=_number(arguments.ai_tpm, "--ai-tpm", most=10**12),
        fault_shares=faults.parse_shares(arguments.ai_fault),
        quirks=quirks.parse(arguments.ai_quirk),
        stall_s=parse_duration_s(arguments.ai_stall, "--ai-stall"),
        models=tuple(arguments.ai_model),
        context_tokens=_number(arguments.ai_context, "--ai-context", least=1, most=10**9),
        raw_streams=_number(arguments.ai_raw, "--ai-raw"),
        key=_key(arguments.ai_key_env, environ),
    )


def _number(text: str, option: str, *, least: int = 0, most: int = _MOST) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UsageError(f"{option}: {text!r} is not a whole number from {least} to {most}")
    return int(text)


def _key(variable: str | None, environ: Mapping[str, str]) -> str:
    if variable is None:
        return ""
    key = environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"--ai-key-env: {variable} is not set", hint=f"export {variable}=… before the start")
    return key
