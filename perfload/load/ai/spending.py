"""Stops the load when its cap is reached: the process's budget, and who is told."""

from __future__ import annotations

import logging
from typing import Any

from locust.exception import StopUser

from perfload.errors import UsageError
from perfload.load.ai.answer import Answer, Usage
from perfload.load.ai.budget import Budget, Cap
from perfload.load.ai.prices import Price

logger = logging.getLogger("perfload")

_CHARACTERS_PER_TOKEN = 4

_budget = Budget()


def of_run(run_id: str) -> Budget:
    """Return what this process has spent in the run `run_id`."""
    global _budget  # noqa: PLW0603  # of the process: all its users spend the same money
    if _budget.run_id != run_id:
        _budget = Budget(run_id)
    return _budget


def check(user: Any, cap: Cap) -> None:
    """Return while this process may spend more; end the load, and this user, when it may not."""
    from perfload.load import plugin

    node = plugin.installed.node if plugin.installed else None
    share = cap.share(node.assignment.count) if node else cap
    budget = of_run(node.assignment.run_id if node else "")
    excess = budget.excess(share)
    if not excess:
        return
    if not budget.is_told:
        budget.is_told = True
        _tell(user, f"the spending cap is reached: {excess}")
    raise StopUser


def _tell(user: Any, reason: str) -> None:
    from perfload.load import plugin

    if plugin.installed is not None and plugin.installed.abort(reason):
        return
    # A worker cannot end a run, but what it leaves out makes the run invalid, and says why.
    logger.error("%s; this process sends nothing more", reason)
    error = UsageError(reason)
    user.environment.events.user_error.fire(user_instance=user, exception=error, tb=None)


def spend(answer: Answer, price: Price | None, sent_characters: int) -> None:
    """Put down what `answer` took; where the server has not counted, a guess that is rather too high."""
    from perfload.load import plugin

    if answer.status != 200:
        return
    node = plugin.installed.node if plugin.installed else None
    said = answer.usage
    usage = Usage(
        -(-sent_characters // _CHARACTERS_PER_TOKEN) if said.input_tokens is None else said.input_tokens,
        max(said.output_tokens or 0, len(answer.piece_ns)) if answer.error else said.output_tokens,
        said.cached_tokens,
    )
    if usage.output_tokens is None:
        usage.output_tokens = len(answer.piece_ns)
    cost = price.cost_of(usage) if price else None
    tokens = (usage.input_tokens or 0) + usage.output_tokens
    of_run(node.assignment.run_id if node else "").spend(tokens, cost or 0.0)
