"""How MongoDB answers a query: its plan as a short list of stages, without any value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from perfload.monitors.mongodb.shapes import cut, filter_shape, sort_text

if TYPE_CHECKING:
    from pymongo.database import Database

MAX_TIME_MS = 300
"""Of one explanation."""

RUN_BELOW_US = 100_000
"""A query that took less on average is run once more for its statistics; others are only planned."""

MAX_STAGES = 30

_READS = ("find", "aggregate", "count", "distinct")
_BELOW = (
    *("queryPlan", "inputStage", "inputStages", "outerStage", "innerStage", "thenStage", "elseStage"),
    *("shards", "winningPlan", "executionStages"),
)
_LEFT_OUT = ("lsid", "$db", "$clusterTime", "$readPreference", "txnNumber", "autocommit", "startTransaction")
_WRITING_STAGES = frozenset({"$out", "$merge"})
_COUNTS = ("nReturned", "docsExamined", "keysExamined", "totalKeysExamined", "totalDocsExamined", "memLimit")


def explainable(command: Mapping[str, Any], collection: str) -> dict[str, Any] | None:
    """Return the read whose plan stands for `command`; of a write, the search for its documents.

    None for what has no plan. No write is ever sent, not even to be explained.
    """
    name = next(iter(command), "")
    if name in ("findAndModify", "findandmodify"):
        found = {"find": collection, "filter": command.get("query") or {}}
        return found | ({"sort": command["sort"]} if command.get("sort") else {})
    if "q" in command:
        return {"find": collection, "filter": command["q"]}
    if name not in _READS:
        return None
    pipeline = command.get("pipeline")
    if isinstance(pipeline, list) and any(_WRITING_STAGES & set(stage) for stage in pipeline):
        return None
    read = {key: value for key, value in command.items() if key not in _LEFT_OUT and key != "maxTimeMS"}
    return read | ({"cursor": {}} if name == "aggregate" else {})


def explain(database: Database[dict[str, Any]], read: Mapping[str, Any], *, run: bool) -> dict[str, Any]:
    """Return {verbosity, stages, rejected_plans}; with `run`, what each stage examined. pymongo's errors."""
    verbosity = "executionStats" if run else "queryPlanner"
    answer = database.command(
        {"explain": dict(read), "verbosity": verbosity, "maxTimeMS": MAX_TIME_MS},
    )
    return {"verbosity": verbosity, **plan_in(answer)}


def plan_in(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stages of an answer to `explain`, the last one to work first, with `depth` in the tree."""
    planner, statistics = answer.get("queryPlanner"), answer.get("executionStats")
    for stage in answer.get("stages") or ():
        cursor = stage.get("$cursor") if isinstance(stage, Mapping) else None
        if isinstance(cursor, Mapping):
            planner, statistics = cursor.get("queryPlanner"), cursor.get("executionStats")
    tree = None
    if isinstance(statistics, Mapping):
        tree = statistics.get("executionStages")
    if not isinstance(tree, Mapping) or _is_bytecode(tree):
        tree = planner.get("winningPlan") if isinstance(planner, Mapping) else None
    stages = [stage for stage, _ in zip(_walk(tree, 0), range(MAX_STAGES), strict=False)]
    rejected = planner.get("rejectedPlans") if isinstance(planner, Mapping) else None
    return {"stages": stages, "rejected_plans": len(rejected) if isinstance(rejected, list) else 0}


def _is_bytecode(tree: Mapping[str, Any]) -> bool:
    """Say whether stages are of the engine that names none of the indexes in its statistics."""
    return "opens" in tree or "slots" in tree


def _walk(tree: object, depth: int) -> Iterator[dict[str, Any]]:
    if not isinstance(tree, Mapping) or depth > MAX_STAGES:
        return
    if isinstance(tree.get("stage"), str):
        yield _stage(tree, depth)
        depth += 1
    for name in _BELOW:
        below = tree.get(name)
        for branch in below if isinstance(below, list) else [below]:
            yield from _walk(branch, depth)


def _stage(tree: Mapping[str, Any], depth: int) -> dict[str, Any]:
    stage: dict[str, Any] = {"stage": cut(tree["stage"], 40), "depth": depth}
    if isinstance(tree.get("indexName"), str):
        stage["index"] = cut(tree["indexName"], 130)
    for name, label in (("keyPattern", "keys"), ("sortPattern", "sort")):
        if isinstance(tree.get(name), Mapping):
            stage[label] = sort_text(tree[name])
    if tree.get("filter"):
        stage["filter"] = filter_shape(tree["filter"]).text
    bounded = _bounded(tree.get("indexBounds"))
    if bounded:
        stage["bounded"] = bounded
    if tree.get("usedDisk"):
        stage["used_disk"] = True
    for name in _COUNTS:
        if isinstance(tree.get(name), int):
            stage[name] = tree[name]
    return stage


def _bounded(bounds: object) -> list[str]:
    """Return the fields of an index that narrow the search down; the bounds themselves are values."""
    if not isinstance(bounds, Mapping):
        return []
    whole = (["[MinKey, MaxKey]"], ["[MaxKey, MinKey]"])
    return [cut(str(name), 120) for name, intervals in bounds.items() if intervals not in whole][:MAX_STAGES]
