"""What streams of real servers do beside the two wire formats, for clients that have to live with it.

Each is seen in servers, or in what stands between them and the client, and is no fault: the answer is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from perfload.errors import UsageError
from perfload.suggest import did_you_mean
from perfload.target.ai.provider import Frame
from perfload.target.ai.refusal import BAD_REQUEST, Refusal

QUIRK_HEADER = b"x-perfload-quirk"

CRLF, CR, NO_SPACE, BOM = "crlf", "cr", "no-space", "bom"
COMMENTS, SPLIT_EVENTS, MERGED_EVENTS = "comments", "split-events", "merged-events"
EMPTY_CHOICES, NULL_CHOICES = "empty-choices", "null-choices"
USAGE_IN_EVERY_CHUNK, NO_USAGE, NO_DONE = "usage-in-every-chunk", "no-usage", "no-done"

OF_ANY = {
    CRLF: "lines end in CR LF",
    CR: "lines end in CR",
    NO_SPACE: "no space after the colon: data:{…}",
    BOM: "a byte order mark before the first event",
    COMMENTS: "comment lines between the events",
    SPLIT_EVENTS: "every write ends in the middle of an event",
    MERGED_EVENTS: "two events in one write",
}
OF_OPENAI = {
    EMPTY_CHOICES: "chunks whose choices are [] before the first token and between tokens",
    NULL_CHOICES: "chunks whose choices are null, at the same places",
    USAGE_IN_EVERY_CHUNK: "usage so far in every chunk",
    NO_USAGE: "no usage, not even where it is asked for",
    NO_DONE: "no [DONE] at the end",
}
"""Those that other formats do not have."""
NAMES = (*OF_ANY, *OF_OPENAI)

_EXCLUSIVE = ((CR, CRLF), (NO_USAGE, USAGE_IN_EVERY_CHUNK))

COMMENT = b": keep-alive\n\n"
_IDLE_EVERY = 4
"""Writes from one thing that means nothing to the next."""


def parse(settings: Iterable[str]) -> frozenset[str]:
    """Read `crlf,comments`, `bom`; raises `UsageError`."""
    names = [name.strip() for setting in settings for name in setting.split(",")]
    for name in names:
        if name not in NAMES:
            raise UsageError(f"--ai-quirk: {name!r} is no quirk", hint=did_you_mean(name, NAMES))
    found = frozenset(names)
    for one, other in _EXCLUSIVE:
        if {one, other} <= found:
            raise UsageError(f"--ai-quirk: {one} and {other} exclude each other", hint="name one of them")
    return found


def asked(value: bytes) -> frozenset[str]:
    """Read the header of a request that asks for quirks itself; raises `Refusal`."""
    text = value.decode("latin-1").strip()
    if text == "none":
        return frozenset()
    try:
        return parse([text])
    except UsageError as error:
        rule = f"none, {', '.join(NAMES)}"
        raise Refusal(BAD_REQUEST, f"{QUIRK_HEADER.decode()}: one or several of {rule}") from error


def opening(events: bytes, quirks: frozenset[str], idle: bytes) -> bytes:
    """Return the first events as they are sent; `idle` is what else stands between events."""
    if not quirks:
        return events
    return (b"\xef\xbb\xbf" if BOM in quirks else b"") + _lines(idle + events + idle, quirks)


def dressed(frames: Iterator[Frame], quirks: frozenset[str], idle: bytes) -> Iterator[Frame]:
    """Yield the other events as they are sent: as many tokens, though not in as many writes."""
    if not quirks:
        return frames
    if idle:
        frames = _with_idle(frames, idle)
    if MERGED_EVENTS in quirks:
        frames = _merged(frames)
    frames = ((_lines(data, quirks), tokens) for data, tokens in frames)
    return _split(frames) if SPLIT_EVENTS in quirks else frames


def writes(frames: int, quirks: frozenset[str]) -> int:
    """Return how many writes become of so many frames."""
    return (frames + 1) // 2 if MERGED_EVENTS in quirks else frames


def _lines(events: bytes, quirks: frozenset[str]) -> bytes:
    """Return `events` with other ends of lines: there are none within the JSON, which escapes its own."""
    if NO_SPACE in quirks:
        events = b"\n".join(line.replace(b": ", b":", 1) for line in events.split(b"\n"))
    if CRLF in quirks:
        return events.replace(b"\n", b"\r\n")
    return events.replace(b"\n", b"\r") if CR in quirks else events


def _with_idle(frames: Iterator[Frame], idle: bytes) -> Iterator[Frame]:
    for number, (data, tokens) in enumerate(frames):
        yield (idle + data if number % _IDLE_EVERY == 1 else data), tokens


def _merged(frames: Iterator[Frame]) -> Iterator[Frame]:
    for data, tokens in frames:
        more, more_tokens = next(frames, (b"", 0))
        yield data + more, tokens + more_tokens


def _split(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Send the first half of each event with what comes before it: tokens count where their event ends."""
    held, tokens = next(frames, (b"", 0))
    for data, more_tokens in frames:
        half = len(data) // 2
        yield held + data[:half], tokens
        held, tokens = data[half:], more_tokens
    if held:
        yield held, tokens
