"""The loop of a lean user: tasks one after the other, without what Locust's task sets offer besides.

Locust's own loop keeps a queue of tasks and looks for nested task sets around each of them. Whose tasks are
plain functions has nothing of that.
"""

from __future__ import annotations

import logging
import random
import traceback
from typing import Any

import gevent
from gevent import GreenletExit, get_hub, getcurrent
from greenlet import greenlet
from locust import TaskSet
from locust.exception import (
    InterruptTaskSet,
    RescheduleTask,
    RescheduleTaskImmediately,
    StopTest,
    StopUser,
)
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING

logger = logging.getLogger(__name__)

_switch = greenlet.switch
_ENDS = (GreenletExit, StopUser, StopTest)


def check_tasks(tasks: Any) -> None:
    """Raise ValueError unless `tasks` are what a lean user can run."""
    if any(isinstance(task, type) and issubclass(task, TaskSet) for task in tasks):
        raise ValueError("a lean user has plain tasks; for task sets take `lean = True` away")


def run(user: Any) -> None:
    """Run `user` until it is stopped, with the life cycle, errors and waiting that Locust has."""
    user._state = LOCUST_STATE_RUNNING
    try:
        try:
            user.on_start()
        except Exception as error:
            if not isinstance(error, _ENDS):
                _tell(user, error)
            raise
        _perform_tasks(user)
        raise StopUser
    except _ENDS:
        user.on_stop()


def _perform_tasks(user: Any) -> None:
    while user._state != LOCUST_STATE_STOPPING:
        tasks = user.tasks  # which the end of a phase changes
        try:
            (tasks[0] if len(tasks) == 1 and isinstance(tasks, list) else random.choice(tasks))(user)
        except (*_ENDS, InterruptTaskSet):
            raise
        except RescheduleTaskImmediately:
            continue
        except RescheduleTask:
            pass
        except Exception as error:
            _tell(user, error)
            if not user.environment.catch_exceptions:
                raise
        wait(user)


def wait(user: Any) -> None:
    """Let `user` wait for as long as its `wait_time` says; one that is being stopped leaves at once."""
    if user._state == LOCUST_STATE_STOPPING:
        raise StopUser
    user._state = LOCUST_STATE_WAITING
    wait_s = user.wait_time()
    if wait_s > 0:
        gevent.sleep(wait_s)
    else:
        _let_others_run()
    user._state = LOCUST_STATE_RUNNING


def _let_others_run() -> None:
    """Go on at the end of this turn of the event loop, as `gevent.sleep(0)` does for twice the price.

    Without it requests would leave one by one, and wake the server for each instead of once for all.
    """
    hub = get_hub()
    going_on = hub.loop.run_callback(getcurrent().switch)
    try:
        _switch(hub)
    except BaseException:
        going_on.stop()
        raise


def _tell(user: Any, error: Exception) -> None:
    """Report an error of the scenario's own code, as Locust does."""
    user.environment.events.user_error.fire(user_instance=user, exception=error, tb=error.__traceback__)
    logger.error("%s\n%s", error, traceback.format_exc())
