"""What a sweep came to, in words: for its page and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from perfload.analysis.schema import ThresholdSummary
from perfload.analysis.sweep_plan import level_text
from perfload.analysis.sweep_schema import LevelSummary, SweepSummary
from perfload.report.quantities import count, observed_and_limit
from perfload.units import format_duration

ENOUGH_FOR_P99 = 1000
"""Requests of a level. Ten of them are slower than its 99th percentile."""

VERDICTS = {
    "met": ("met", "✓", "good"),
    "missed": ("MISSED", "✗", "bad"),
    "invalid": ("INVALID", "!", "doubt"),
    "incomplete": ("INCOMPLETE", "…", "doubt"),
    "unjudged": ("not judged", "?", "doubt"),
}
"""Verdict of a level: its word, mark and class in the style sheet."""

_MODELS = {
    "arrivals": "Open model: at each level virtual users arrive at its rate, whatever the system does.",
    "users": "Closed model: at each level so many users wait for their responses, so a slow system gets less "
    "load than it would from visitors.",
}


def level_name(level: float, model: str) -> str:
    """Return a level with its unit: `4/s`, `50 users`."""
    if model == "arrivals":
        return f"{level_text(level)}/s"
    return f"{level_text(level)} user{'s' * (level != 1)}"


def levels_in_words(levels: list[float], model: str) -> str:
    """Return all levels in a line: `1, 2, 4, 8 virtual users per second`."""
    user = f"user{'s' * (levels != [1])}"
    unit = f"virtual {user} per second" if model == "arrivals" else f"{user} at once"
    return f"{', '.join(map(level_text, levels))} {unit}"


def objective_words(rule: ThresholdSummary) -> str:
    """Return a rule with what was observed: `p99(ttft) < 2s: 4.10 s`."""
    observed, _ = observed_and_limit(rule["observed"], rule["limit"], rule["unit"])
    seen = "no data" if rule["status"] == "no_data" else observed
    detail = f" ({rule['detail']})" if rule["detail"] else ""
    return f"{rule['rule']}: {seen}{detail}"


def why_not(level: LevelSummary) -> list[str]:
    """Return why a level does not meet the objectives, a sentence or a rule each; empty if it does."""
    missed = [objective_words(rule) for rule in level["objectives"] if rule["status"] != "pass"]
    return level["reasons"] if level["verdict"] in ("invalid", "incomplete") else missed or level["reasons"]


def conclusion(summary: SweepSummary) -> tuple[str, str]:
    """Return the class in the style sheet and the sentences that answer what the sweep was for."""
    if summary["best"] is not None:
        return "good", _highest(summary, summary["best"])
    if not summary["levels"]:
        return "doubt", "No level was run."
    if all(level["verdict"] == "unjudged" for level in summary["levels"]):
        return "doubt", "No objective was stated, so there is none that a level could meet."
    lowest = summary["levels"][0]
    if lowest["verdict"] == "missed":
        return "bad", f"No level meets the objectives. {_sentence(lowest, summary)}"
    return "doubt", f"The lowest level could not be judged. {_sentence(lowest, summary)}"


def _highest(summary: SweepSummary, best: float) -> str:
    head = f"{level_name(best, summary['model'])} is the highest level that meets the objectives."
    above = next((level for level in summary["levels"] if level["level"] > best), None)
    if above is not None:
        return f"{head} {_sentence(above, summary)}"
    if best == summary["planned"][-1]:
        return f"{head} No higher one was tried: the limit lies above it."
    return f"{head} No higher one was run."


def _sentence(level: LevelSummary, summary: SweepSummary) -> str:
    name = level_name(level["level"], summary["model"])
    verdict = {
        "missed": "does not meet them",
        "invalid": "is invalid",
        "incomplete": "is incomplete",
        "unjudged": "was held against none",
    }[level["verdict"]]
    why = "; ".join(why_not(level))
    return f"{name} {verdict}{f': {why}' if why else ''}."


def notes(summary: SweepSummary) -> Iterator[str]:
    """Yield what a reader must know beside the answer."""
    model, best = summary["model"], summary["best"]
    higher = [
        level_name(level["level"], model)
        for level in summary["levels"]
        if level["verdict"] == "met" and (best is None or level["level"] > best)
    ]
    if higher:
        verb = "meets" if len(higher) == 1 else "meet"
        yield f"{', '.join(higher)} {verb} them too, but not every level below does: that does not count."
    if summary["end_note"]:
        yield summary["end_note"]
    for left in summary["left_out"]:
        yield f"Left out: {left['rule']} ({left['why']})."
    yield _MODELS[model]
    yield lengths(summary)
    yield from _few(summary)


def _few(summary: SweepSummary) -> Iterator[str]:
    """Yield the level with the fewest requests, if they are too few."""
    asked = (level for level in summary["levels"] if level["figures"]["requests"])
    fewest = min(asked, key=lambda level: level["figures"]["requests"], default=None)
    if fewest is not None and fewest["figures"]["requests"] < ENOUGH_FOR_P99:
        name, requests = level_name(fewest["level"], summary["model"]), fewest["figures"]["requests"]
        yield (
            f"{name} had {count(requests)} request{'s' * (requests != 1)}: of fewer than "
            f"{count(ENOUGH_FOR_P99)} a p99 is one of the ten slowest. A longer --duration tells more."
        )


def lengths(summary: SweepSummary) -> str:
    """Return how long each level was measured, and what was left out of the figures."""
    scale = summary["time_scale"]
    measured = format_duration(summary["duration_s"] / scale)
    warmup = format_duration(summary["warmup_s"] / scale) if summary["warmup_s"] else ""
    before = f", after a warm-up of {warmup} that is in no figure" if warmup else ", without a warm-up"
    return f"Each level was measured for {measured}{before}."
