"""The report's standing text: what to look for in each section, and how the numbers are made."""

from __future__ import annotations

LEDES = {
    "cause": "The first resource at its limit when the system began to struggle, named only where the record "
    "has the evidence. Held: what it did not fall below for three readings in a row.",
    "load": "Planned and started lie on each other when the generator kept up. Where started stays below, "
    "the system did not get the load that was asked for.",
    "throughput": "Requests that finished, over all generators, in the second in which they finished.",
    "latency": "Over requests that succeeded. A second in which none did is a gap, not a zero.",
    "requests": "Totals leave out warm-up phases. Percentiles cover successes; failures are counted beside "
    "them.",
    "ai": "Over answers that are whole, from the intended start of the user in the open model. Tokens are "
    "those that the server counted. docs/ai.md defines each number.",
    "stages": "DNS, connect and TLS set up a connection; a request that finds one open has none of them. "
    "Send: the request goes out. Wait: until the first byte of the response, which is the way there and back "
    "and the server's work. Receive: the rest of the response; of a streamed one, also the server's work on "
    "it. Over requests with a response, whatever its status, without warm-up phases.",
    "generator": "If the generator was the limit, the numbers above describe it and not the system. Lag "
    "should stay within a few milliseconds and CPU well below one core.",
    "monitors": "Readings of the systems around the target while the load ran.",
}
"""Anchor of a section and the sentence under its title."""

GLOSSARY = {
    "Open and closed model": "In an open phase, virtual users arrive at a rate whatever the system does, as "
    "visitors do. In a closed phase a fixed number of users takes turns: a slow system then gets fewer "
    "requests, so its latencies look better than what visitors would see. The two must not be compared.",
    "Response time": "From the intended start of an arrival to the end of its first request; for later "
    "requests, from the actual send. When the generator or the system stalls, everyone who would have come "
    "in that time counts with their wait (no coordinated omission).",
    "Service time": "From the actual send of a request to its end. Where response time is much higher, "
    "virtual users waited to be started.",
    "Percentiles": "Each request is counted in a histogram with three significant digits (within 0.1 %). "
    "Histograms of seconds, generators and phases are added; percentiles are never averaged.",
    "Failures": "Failed requests have a histogram of their own, so that fast errors do not make the system "
    "look fast.",
    "Availability": "Of the seconds in which requests were due, the share in which at least one of them "
    "succeeded.",
    "Arrivals": "Planned = started + dropped + lost + missed. Late: started more than 5 ms after the "
    "intended time. Dropped: not started because max_users were in flight. Lost: given to a load generator "
    "that was lost or left; not started, or nothing was heard of them. Missed: the run ended first, or no "
    "generator was there.",
    "Warm-up": "Phases marked as warm-up are in the charts and in their own rows, but not in totals, "
    "thresholds or the percentile spectrum.",
    "Time": "Charts count from the run's start; the bands are the planned phases. Drag to zoom into all "
    "charts over time at once; double-click to go back.",
}
"""Term and explanation, in the order of the report."""
