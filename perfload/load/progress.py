"""The line that says, while a run goes on, how it goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perfload.analysis.tally import Tally
from perfload.model import AnyWindow, ArrivalWindow, PhaseSpan, Reading, Window


class Progress:
    """Sums what came in since the last line; fed with every batch, asked for a line every few seconds."""

    def __init__(self, spans: Sequence[PhaseSpan]) -> None:
        self._spans = spans
        self._planned = sum(span.planned for span in spans)
        self._started = 0
        self._requests = 0
        self._failures = 0
        self._users: dict[str, float] = {}
        self._recent = Tally()
        self._line_s = 0.0

    def add(self, windows: Iterable[AnyWindow], readings: Iterable[Reading]) -> None:
        """Take in one batch of one node."""
        for window in windows:
            if isinstance(window, Window):
                self._recent.add(window)
                self._requests += window.count
                self._failures += window.failed.count
            elif isinstance(window, ArrivalWindow):
                self._started += window.lag.count
        for reading in readings:
            if reading.metric == "users":
                self._users[reading.node] = reading.value or 0.0

    def line(self, now_s: float) -> str:
        """Return the line for second `now_s` of the run, and begin a new stretch."""
        recent, self._recent = self._recent, Tally()
        passed_s = max(now_s - self._line_s, 0.001)
        self._line_s = now_s
        parts = [self._where(now_s)]
        if self._planned:
            parts.append(f"{self._started:,} of {self._planned:,} arrivals")
        parts.append(f"{sum(self._users.values()):.0f} users")
        parts.append(f"{recent.count / passed_s:.0f} requests/s")
        if recent.latency.count:
            parts.append(f"p95 {recent.latency.percentile(95) / 1000:.0f} ms")
        parts.append(self._failure_words())
        return "  ".join(parts)

    def _where(self, now_s: float) -> str:
        span = next((span for span in self._spans if now_s < span.end_s), None)
        if span is None:
            return f"{_clock(now_s)}  finishing"
        end_s = self._spans[-1].end_s
        if end_s == float("inf"):
            return f"{_clock(now_s)}  {span.name}"
        return f"{_clock(now_s)}/{_clock(end_s)}  {span.name}"

    def _failure_words(self) -> str:
        if not self._failures:
            return "no failures"
        return f"{self._failures:,} failures ({100 * self._failures / self._requests:.2f} %)"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes:02}:{rest:02}"
