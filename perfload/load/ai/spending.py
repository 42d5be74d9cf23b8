"""Stops the load when its cap is reached: the process's budget, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from perfload.load.ai.answer import Answer, Usage
from perfload.load.ai.budget import Budget, Cap
from perfload.load.ai.prices import Price

logger = logging.getLogger("perfload")

_BYTES_PER_TOKEN = 3
"""Of a guess that is rather too high: English has more than four, other languages and code have fewer."""
_LOOK_S = 0.5
"""How often a user who waits for money looks whether it is being stopped."""

_budget = Budget()


def of_run(run_id: str) -> Budget:
    """Return the budget of this process in the run `run_id`: the whole cap, unless it is shared."""
    global _budget  # noqa: PLW0603  # of the process: all its users spend the same money
    if _budget.run_id != run_id:
        _budget = Budget(run_id)
    return _budget


def share(run_id: str, user_classes: Iterable[Any]) -> Budget:
    """Return a budget for the run `run_id` of which a master grants this process parts.

    The cap is the lowest of the user classes, so that the master hears of it before the load begins.
    """
    global _budget  # noqa: PLW0603
    _budget = Budget(run_id, is_shared=True)
    for user_class in user_classes:
        if hasattr(user_class, "perfload_cap"):
            _budget.hold_to(user_class.perfload_cap())
    return _budget


def check(user: Any, cap: Cap) -> None:
    """Return once this process may spend more; end the load, and this user, when it may not."""
    budget = of_run(_run_id())
    budget.hold_to(cap)
    while excess := budget.excess():
        is_leaving = getattr(user, "_state", None) == LOCUST_STATE_STOPPING
        if budget.is_shared and not (budget.is_over or is_leaving):
            budget.wait(_LOOK_S)
            continue
        if not (budget.is_told or is_leaving):
            budget.is_told = True
            _tell(budget, excess)
        raise StopUser


def _tell(budget: Budget, excess: str) -> None:
    from perfload.load import plugin

    if budget.is_shared:  # the master has found it out, and ends the run
        logger.warning("the spending cap of the run is reached: this worker sends nothing more")
    elif plugin.installed is None or not plugin.installed.abort(f"the spending cap is reached: {excess}"):
        logger.error("the spending cap is reached: %s; this process sends nothing more", excess)


def spend(answer: Answer, price: Price | None, sent_bytes: Callable[[], int], most_tokens: int) -> None:
    """Put down what a request took: as the server counted or, where it has not, rather too high a guess.

    `sent_bytes` says how much text was sent, and is called only for a guess; `most_tokens` is what the answer
    may have come to.
    """
    if not (answer.is_sent and (answer.status == 0 or 200 <= answer.status < 300)):
        return  # a refusal costs nothing
    said = answer.usage
    asked = said.input_tokens
    usage = Usage(
        -(-sent_bytes() // _BYTES_PER_TOKEN) if asked is None else asked,
        _output(answer, most_tokens),
        said.cached_tokens,
    )
    cost = price.cost_of(usage) if price else None
    of_run(_run_id()).spend((usage.input_tokens or 0) + (usage.output_tokens or 0), cost or 0.0)


def _output(answer: Answer, most_tokens: int) -> int:
    counted = answer.usage.output_tokens
    if answer.is_whole and counted is not None:
        return counted
    if not (answer.is_whole or answer.is_streamed):
        return most_tokens if counted is None else counted  # a server may finish what nobody waits for
    return max(counted or 0, len(answer.piece_ns), -(-answer.text_bytes // _BYTES_PER_TOKEN))


def _run_id() -> str:
    from perfload.load import plugin

    node = plugin.installed.node if plugin.installed else None
    return node.assignment.run_id if node else ""
