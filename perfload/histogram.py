"""Exact latency histograms: the log-linear layout of HdrHistogram with three significant digits.

A value v below 2,048 has a slot of its own. Above, each doubling is divided into 1,024 slots, so that a slot
is never wider than v / 1,024 and every reported value lies within 0.1 % of the true one. Only slots in use
are stored. Minimum, maximum and sum are kept exactly. Layout and V2 encoding follow the HdrHistogram
reference implementation (https://github.com/HdrHistogram/HdrHistogram), so that its tools read our logs.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

SUB_BUCKET_BITS = 11
"""2,048 = 2^11 is the first power of two that separates 2 x 10^3 values: three significant digits."""
_HALF = 1 << (SUB_BUCKET_BITS - 1)

HIGHEST_TRACKABLE_US = 3_600_000_000
"""The range stated in encoded histograms: 1 us to 1 h. Longer values are kept and widen the stated range."""

_COOKIE_V2 = 0x1C849303 | 0x10
_COOKIE_V2_COMPRESSED = 0x1C849304 | 0x10
_HEADER = struct.Struct(">iiiiqqd")
_MAX_RAW_BYTES = 1 << 20
"""More than any histogram of 64-bit values needs: what a node sends is not trusted to be small."""


def slot_of(value: int) -> int:
    """Return the index of the slot that counts `value` (>= 0)."""
    shift = value.bit_length() - SUB_BUCKET_BITS
    return value if shift <= 0 else (shift << (SUB_BUCKET_BITS - 1)) + (value >> shift)


def slot_bounds(slot: int) -> tuple[int, int]:
    """Return the lowest and the highest value that `slot` counts."""
    shift = (slot >> (SUB_BUCKET_BITS - 1)) - 1
    if shift <= 0:
        return slot, slot
    lowest = (_HALF + (slot & (_HALF - 1))) << shift
    return lowest, lowest + (1 << shift) - 1


def slot_middle(slot: int) -> int:
    """Return the value that stands for all that `slot` counts: within 0.05 % of each."""
    lowest, highest = slot_bounds(slot)
    return (lowest + highest + 1) // 2


def representative(value: int) -> int:
    """Return the value that stands for the slot of `value`."""
    return slot_middle(slot_of(value))


_SLOTS = tuple(range(slot_of(HIGHEST_TRACKABLE_US) + 1))
"""One object for each slot: of the millions of counts in a record, these were half of the memory."""


class Histogram:
    """Counts of non-negative integers (microseconds, for latencies) with exact count, sum, min and max."""

    __slots__ = ("count", "max", "min", "slots", "sum")

    def __init__(self, values: Iterable[int] = ()) -> None:
        self.slots: defaultdict[int, int] = defaultdict(int)
        self.count = 0
        self.sum = 0
        self.min = 0
        self.max = 0
        for value in values:
            self.record(value)

    def record(self, value: int, count: int = 1) -> None:
        """Count `value` (>= 0; a negative one, which only a stepped clock produces, counts as 0)."""
        if value < 0:
            value = 0
        # slot_of, inlined: this runs for every request.
        if value < 2048:
            self.slots[value] += count
        else:
            shift = value.bit_length() - 11
            self.slots[(shift << 10) + (value >> shift)] += count
        if not self.min <= value <= self.max:
            self.min = min(self.min, value) if self.count else value
            self.max = max(self.max, value)
        self.count += count
        self.sum += value * count

    def add(self, other: Histogram) -> None:
        """Add every value of `other`; exact, unlike any average of percentiles."""
        if not other.count:
            return
        for slot, count in other.slots.items():
            self.slots[slot] += count
        self.min = min(self.min, other.min) if self.count else other.min
        self.max = max(self.max, other.max)
        self.count += other.count
        self.sum += other.sum

    def subtract(self, other: Histogram) -> None:
        """Take out `other`, whose values are all in this histogram; min and max fall back to slot bounds.

        Raises `ValueError` if `other` holds a value that is not here; nothing is changed then.
        """
        if any(self.slots.get(slot, 0) < count for slot, count in other.slots.items()):
            raise ValueError("subtract: the other histogram holds values that this one does not")
        for slot, count in other.slots.items():
            self.slots[slot] -= count
            if not self.slots[slot]:
                del self.slots[slot]
        self.count -= other.count
        self.sum -= other.sum
        if not self.slots:
            self.min = self.max = 0
            return
        self.min = max(self.min, slot_bounds(min(self.slots))[0])
        self.max = min(self.max, slot_bounds(max(self.slots))[1])

    def percentile(self, percent: float) -> int:
        """Return the value at or below which `percent` (0..100) of the values lie; 0 when empty.

        The rank is ceil(percent / 100 x count), as numpy's `inverted_cdf` has it.
        """
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """Return `percentile` of each of `percents`, in one pass over the slots."""
        wanted = list(percents)
        if not self.count:
            return [0 for _ in wanted]
        ranks = {p: max(1, math.ceil(round(p / 100 * self.count, 9))) for p in wanted}
        found: dict[float, int] = {}
        pending = sorted(ranks, key=ranks.__getitem__)
        seen = 0
        for slot in sorted(self.slots):
            seen += self.slots[slot]
            while pending and ranks[pending[0]] <= seen:
                found[pending.pop(0)] = self._value_in(slot)
        return [found.get(p, self.max) for p in wanted]

    def _value_in(self, slot: int) -> int:
        return min(max(slot_middle(slot), self.min), self.max)

    @property
    def mean(self) -> float:
        """The exact arithmetic mean; 0.0 when empty."""
        return self.sum / self.count if self.count else 0.0

    def count_above(self, value: int) -> int:
        """Return how many values lie in slots above the one of `value`."""
        limit = slot_of(max(0, value))
        return sum(count for slot, count in self.slots.items() if slot > limit)

    def __len__(self) -> int:
        return self.count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        mine = (dict(self.slots), self.count, self.sum, self.min, self.max)
        return mine == (dict(other.slots), other.count, other.sum, other.min, other.max)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, min={self.min}, mean={self.mean:.1f}, max={self.max})"

    def encode(self) -> str:
        """Return HdrHistogram's compressed V2 encoding in base64, as interval logs carry it.

        The encoding holds the slots only; exact sum, min and max travel beside it (`perfload.store`).
        """
        body = self._body()
        highest = max(HIGHEST_TRACKABLE_US, self.max)
        header = _HEADER.pack(_COOKIE_V2, len(body), 0, 3, 1, highest, 1.0)
        packed = zlib.compress(header + body)
        outer = struct.pack(">ii", _COOKIE_V2_COMPRESSED, len(packed))
        return base64.b64encode(outer + packed).decode("ascii")

    def _body(self) -> bytes:
        """Return the counts from slot 0 up, each run of n empty slots as -n.

        `_zigzag_leb128`, inlined for runs, which are shorter than 2^31, and for counts of one byte: nearly
        all numbers. Every node encodes what it has counted once a second, and the master again.
        """
        body = bytearray()
        append, slots = body.append, self.slots
        following = 0
        for slot in sorted(slots):
            if slot > following:
                rest = (slot - following << 1) - 1
                while rest >= 0x80:
                    append(rest & 0x7F | 0x80)
                    rest >>= 7
                append(rest)
            count = slots[slot]
            if count < 64:
                append(count << 1)
            else:
                body += _zigzag_leb128(count)
            following = slot + 1
        return bytes(body)

    @classmethod
    def decode(cls, text: str, *, total: int | None = None, least: int = 0, greatest: int = 0) -> Histogram:
        """Return what `encode` wrote; `total` (the sum), `least` and `greatest` restore exactness.

        Raises `ValueError` on anything that is not a V2 histogram with three significant digits.
        """
        histogram = cls()
        slots = histogram.slots
        slot = 0
        for number in _decode_numbers(text):
            if number < 0:
                slot -= number
                continue
            if number:
                slots[_SLOTS[slot] if slot < len(_SLOTS) else slot] = number
            slot += 1
        histogram.count = sum(slots.values())
        if histogram.count:
            histogram._restore(total, least, greatest)
        return histogram

    def _restore(self, total: int | None, least: int, greatest: int) -> None:
        if total is not None:
            self.sum, self.min, self.max = total, least, greatest
            return
        self.min = slot_bounds(min(self.slots))[0]
        self.max = slot_bounds(max(self.slots))[1]
        self.sum = sum(sum(slot_bounds(slot)) * count for slot, count in self.slots.items()) // 2


def _decode_numbers(text: str) -> list[int]:
    try:
        outer = base64.b64decode(text, validate=True)
        cookie, length = struct.unpack_from(">ii", outer)
        raw = zlib.decompressobj().decompress(outer[8 : 8 + length], _MAX_RAW_BYTES)
        inner, body_length, _, digits, lowest, _, _ = _HEADER.unpack_from(raw)
    except (ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"not an encoded histogram: {error}") from error
    if (cookie, inner, digits, lowest) != (_COOKIE_V2_COMPRESSED, _COOKIE_V2, 3, 1):
        raise ValueError("not a V2 histogram of three significant digits from 1")
    return list(_read_zigzag_leb128(raw[_HEADER.size : _HEADER.size + body_length]))


def _zigzag_leb128(number: int) -> bytes:
    """Encode a signed 64-bit number: zig-zag, then little-endian base 128 of at most nine bytes."""
    rest = (number << 1) if number >= 0 else ((-number << 1) - 1)
    out = bytearray()
    while rest >= 0x80 and len(out) < 8:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _read_zigzag_leb128(data: bytes) -> Iterator[int]:
    value = shift = length = 0
    for byte in data:
        if byte < 0x80 and not length:  # nearly all numbers have one byte
            yield -(byte + 1 >> 1) if byte & 1 else byte >> 1
            continue
        length += 1
        if length == 9:
            value |= byte << shift
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte & 0x80:
                continue
        yield (value >> 1) if not value & 1 else -((value + 1) >> 1)
        value = shift = length = 0
    if length:
        raise ValueError("not an encoded histogram: it ends in the middle of a number")
