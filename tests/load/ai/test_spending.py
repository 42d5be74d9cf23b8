"""Money: what is put down for requests that nobody counts or waits for, and a cap that is shared."""

from __future__ import annotations

import json

import gevent
import pytest
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING

from perfload.load import AnthropicUser, OpenAIUser, plugin
from perfload.load.ai import AnswerTimeouts, spending
from perfload.load.ai.budget import Budget, Cap
from tests.load.ai.conftest import HEAD, LAST, Site, part, whole
from tests.load.ai.corpus import ANTHROPIC, OPENAI, USAGE, chunk, data
from tests.load.conftest import wait_for
from tests.load.http.servers import CLOSE, HANG

pytestmark = pytest.mark.ai

COUNTED = next(s.body for s in OPENAI if s.name == "usage in a last chunk without choices")
"""15 tokens."""


def spent() -> int:
    """Return the tokens that this process has put down for the run."""
    return spending.of_run("run-1").tokens


def guessed(site: Site) -> int:
    """Return what is put down for what the last request has sent, where the server does not count."""
    said = json.loads(site.server.asked[-1].body)
    return -(-len(json.dumps([said["messages"]])) // 3)


# --- what nobody counts


def test_an_answer_that_came_at_once_and_is_not_counted_is_no_single_token(site: Site) -> None:
    body = {"choices": [{"index": 0, "message": {"content": "word " * 300}, "finish_reason": "stop"}]}
    site.server.answer(whole("200 OK", json.dumps(body).encode()))
    assert site.ask(options={"stream": False}).ok
    assert spent() == guessed(site) + 500


def test_pieces_of_several_tokens_are_not_one_each(site: Site) -> None:
    site.server.answer(HEAD, part(data(chunk({"content": "模型" * 50}, "stop")).encode()), LAST)
    assert site.ask().ok
    assert spent() == guessed(site) + 100


def test_tools_are_sent_and_paid_for(site: Site) -> None:
    site.server.answer(HEAD, part(data(chunk({"content": "a"}, "stop")).encode()), LAST)
    site.ask(options={"tools": [{"type": "function", "function": {"name": "x" * 3000}}]})
    assert spent() > 1000


def test_what_nobody_waits_for_any_more_is_paid_for(site: Site) -> None:
    """A server finishes what it was asked for at once, whether or not somebody is there to take it."""
    site.server.answer(HANG)
    timeouts = AnswerTimeouts(total_s=0.1)
    assert site.ask(options={"stream": False, "max_tokens": 70, "timeouts": timeouts}).status == 0
    assert spent() == guessed(site) + 70


def test_several_choices_are_paid_for(site: Site) -> None:
    site.server.answer(HANG)
    timeouts = AnswerTimeouts(total_s=0.1)
    site.ask(options={"stream": False, "max_tokens": 70, "n": 3, "timeouts": timeouts})
    assert spent() == guessed(site) + 3 * 70


@pytest.mark.parametrize("kind", ["scenario", "runner"])
def test_a_stream_that_is_given_up_is_paid_for(site: Site, kind: str) -> None:
    site.server.answer(HEAD, part(data(chunk({"content": "a"}, usage=USAGE)).encode()), HANG)
    user = site.user()
    if kind == "scenario":
        with gevent.Timeout(0.1, exception=False):
            user.chat("Hello")
    else:
        asking = gevent.spawn(user.chat, "Hello")
        wait_for(lambda: bool(site.server.asked))
        gevent.sleep(0.1)
        asking.kill()
    assert spent() == 15


def test_a_message_that_breaks_off_is_paid_for_as_far_as_it_came(site: Site) -> None:
    """Its first event says that there is one token of output; the true count never comes."""
    stream = next(s.body for s in ANTHROPIC if s.name == "cut off")
    site.server.answer(HEAD, part(stream), CLOSE)
    assert not site.ask(AnthropicUser).ok
    assert spent() == 13 + 7  # "Hello, wörld 模型" has 20 bytes


@pytest.mark.parametrize(
    "refusal",
    [whole("401 No", b"{}"), whole("429 Slow", b"{}"), whole("500 Oh", b"{}"), whole("529 No", b"{}")],
)
def test_a_refusal_costs_nothing(site: Site, refusal: bytes) -> None:
    site.server.answer(refusal)
    site.ask()
    assert spent() == 0


def test_what_was_never_sent_costs_nothing(site: Site) -> None:
    site.server.close()
    assert site.ask().error == "connection refused"
    assert spent() == 0


def test_every_try_is_paid_for(site: Site) -> None:
    site.server.answer(HEAD, CLOSE)
    site.server.answer(HEAD, part(COUNTED), LAST)
    user = site.user()
    user.chat("Hello")
    first = spent()
    user.chat("Hello")
    assert first > 0
    assert spent() == first + 15


def test_a_server_that_counts_more_than_anything_can_be_is_not_believed(site: Site) -> None:
    said = json.dumps(chunk({"content": "a"}, "stop")).removesuffix("}")
    huge = '"usage":{"prompt_tokens":%s,"completion_tokens":1e999}}' % ("9" * 4000)
    site.server.answer(HEAD, part(f"data: {said},{huge}\n\n".encode()), LAST)
    answer = site.ask(prices={"m": {"input": 1, "output": 1}})
    assert (answer.ok, answer.usage.input_tokens, answer.usage.output_tokens) == (True, None, None)
    assert spent() == guessed(site) + 1


# --- a cap that is shared


@pytest.fixture
def shared(site: Site) -> Budget:
    """The budget of a worker whose master has not granted anything yet."""
    user_class = type("Asker", (OpenAIUser,), {"model": "m", "abstract": False, "max_tokens_total": 100})
    other_class = type("Other", (OpenAIUser,), {"model": "m", "abstract": False, "max_tokens_total": 900})
    return spending.share("run-1", [other_class, user_class, object])


def test_the_master_hears_of_the_lowest_cap_before_the_load(shared: Budget) -> None:
    assert shared.account() == {"tokens": (100, 0)}
    assert shared.is_shared


def test_a_user_waits_until_something_is_granted(site: Site, shared: Budget) -> None:
    site.server.answer(HEAD, part(COUNTED), LAST)
    asked: list[int] = []
    shared.ask = lambda: asked.append(1)
    waiting = gevent.spawn(site.user(max_tokens_total=100).chat, "Hello")
    wait_for(lambda: bool(asked))
    assert not site.server.asked
    shared.grant({"tokens": 10.0}, is_all=False)
    assert waiting.get().ok
    assert shared.account() == {"tokens": (100, 15)}
    assert len(asked) == 2  # and again when half of that was gone


def test_what_is_granted_is_not_exceeded(site: Site, shared: Budget) -> None:
    site.server.answer(HEAD, part(COUNTED), LAST)
    shared.grant({"tokens": 31.0}, is_all=False)
    shared.grant({"tokens": 20.0}, is_all=False)  # late
    user = site.user(max_tokens_total=100)

    def go_on() -> None:
        while True:
            user.chat("Hello")

    asking = gevent.spawn(go_on)
    wait_for(lambda: shared.tokens == 45)
    gevent.sleep(0.05)
    assert len(site.server.asked) == 3
    asking.kill()


def test_when_nothing_more_comes_the_users_leave(
    site: Site, shared: Budget, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugin.installed, "abort", lambda _reason: pytest.fail("that is the master's"))
    users = [gevent.spawn(site.user(max_tokens_total=100).chat, "Hello") for _ in range(3)]
    gevent.sleep(0.01)
    shared.grant({"tokens": 0.0}, is_all=True)
    for user in users:
        with pytest.raises(StopUser):
            user.get()
    told = "the spending cap of the run is reached: this worker sends nothing more"
    assert caplog.messages == [told]
    assert site.errors == []


def test_a_user_who_is_being_stopped_does_not_wait_for_money(
    site: Site, shared: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "_LOOK_S", 0.01)
    user = site.user(max_tokens_total=100)
    waiting = gevent.spawn(user.chat, "Hello")
    gevent.sleep(0.01)
    user._state = LOCUST_STATE_STOPPING
    with pytest.raises(StopUser):
        waiting.get()
    assert not site.server.asked


def test_a_master_that_does_not_answer_is_asked_once(
    site: Site, shared: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its answers would be late for good: the beats of all who wait come at once when it is back."""
    monkeypatch.setattr(spending, "_LOOK_S", 0.01)
    asked: list[int] = []
    shared.ask = lambda: asked.append(1)
    waiting = [gevent.spawn(site.user(max_tokens_total=100).chat, "Hello") for _ in range(20)]
    gevent.sleep(0.1)
    assert len(asked) == 1
    shared.grant({"tokens": 0.0}, is_all=False)
    gevent.sleep(0.1)
    assert len(asked) == 2
    gevent.killall(waiting)


def test_who_spends_the_last_of_it_asks_ever_less_often() -> None:
    budget, asked = Budget("run-1", is_shared=True), []
    budget.ask = lambda: asked.append(budget.tokens)
    budget.hold_to(Cap(tokens=1000))
    budget.grant({"tokens": 100.0}, is_all=False)
    for _ in range(99):
        budget.spend(1, 0.0)
        budget.grant({"tokens": 100.0}, is_all=False)  # there is no more
    assert len(asked) < 10
    assert asked[0] == 50
    assert budget.excess() == ""


def test_an_answer_without_money_wakes_who_waits_to_ask_again(site: Site, shared: Budget) -> None:
    """It may be one to what was said before the last was spent."""
    asked: list[int] = []
    shared.ask = lambda: asked.append(1)
    waiting = gevent.spawn(site.user(max_tokens_total=100).chat, "Hello")
    wait_for(lambda: len(asked) == 1)
    shared.grant({"tokens": 0.0}, is_all=False)
    gevent.sleep(0.02)  # less than it waits by itself
    assert len(asked) == 2
    waiting.kill()


def test_without_a_cap_nobody_waits_for_a_master(site: Site) -> None:
    site.server.answer(HEAD, part(COUNTED), LAST)
    budget = spending.share("run-1", [])
    assert site.ask().ok
    assert (budget.tokens, budget.account()) == (15, {})


def test_a_cap_on_one_kind_does_not_wait_for_the_other() -> None:
    budget = Budget("run-1", is_shared=True)
    budget.hold_to(Cap(cost=2.0))
    assert budget.excess()
    budget.grant({"cost": 1.0}, is_all=False)
    budget.spend(1_000_000, 0.5)
    assert budget.excess() == ""
    budget.spend(1, 0.5)
    assert budget.excess() == "1 spent, of a cost of 1 at most"


def test_the_budget_of_another_run_is_another(site: Site) -> None:
    site.server.answer(HEAD, part(COUNTED), LAST)
    site.ask()
    site.node.assignment.run_id = "run-2"
    site.ask()
    assert spending.of_run("run-2").tokens == 15
