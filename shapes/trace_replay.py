"""The replay of a recorded trace: 10 minutes of `data/ai_trace.jsonl`, or whichever part of a file is named.

PERFLOAD_TRACE=BurstGPT_1.csv PERFLOAD_TRACE_START=3h PERFLOAD_TRACE_DURATION=10m PERFLOAD_TRACE_SPEED=2
"""

import os
from pathlib import Path

from perfload.load import TraceShape


class TraceReplay(TraceShape):
    """Arrivals at the trace's own times; docs/trace-replay.md has the formats."""

    trace = os.environ.get("PERFLOAD_TRACE") or Path(__file__).parent.parent / "data" / "ai_trace.jsonl"
    start = os.environ.get("PERFLOAD_TRACE_START") or "0s"
    duration = os.environ.get("PERFLOAD_TRACE_DURATION") or None
    speed = os.environ.get("PERFLOAD_TRACE_SPEED") or 1.0
