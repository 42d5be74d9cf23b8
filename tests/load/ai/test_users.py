"""Users of both providers against a scripted server: what is sent, what comes back, what is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent import GreenletExit
from locust.exception import StopUser

from perfload.errors import UsageError
from perfload.load import AnthropicUser, OpenAIUser, Tool, plugin
from perfload.load.ai import AnswerTimeouts, spending
from perfload.load.users import check_users
from tests.load.ai.conftest import BOTH, HEAD, KEY, LAST, Site, part, whole
from tests.load.ai.corpus import (
    ANTHROPIC,
    END,
    HELLO,
    OPENAI,
    ROLE,
    START,
    STOP,
    USAGE,
    WORDS,
    block,
    chunk,
    data,
    text_delta,
)
from tests.load.conftest import wait_for
from tests.load.http.servers import CLOSE, HANG, PAUSE, RESET

pytestmark = pytest.mark.ai

VLLM_ERROR = b'{"object":"error","message":"no","type":"BadRequestError","code":400}'
STREAMS = {
    OpenAIUser: next(s.body for s in OPENAI if s.name == "usage in a last chunk without choices"),
    AnthropicUser: next(s.body for s in ANTHROPIC if s.name == "plain"),
}
PING = b": ping\n\n"
LIMIT = AnswerTimeouts(first_token_s=0.15, between_tokens_s=0.15, total_s=5)


def streamed(kind: type[Any]) -> tuple[bytes, bytes, bytes]:
    return HEAD, part(STREAMS[kind]), LAST


# --- what is sent


def test_a_chat_completion_as_it_is_sent(site: Site) -> None:
    site.server.answer(*streamed(OpenAIUser))
    site.ask(
        options={"system": "Be brief.", "max_tokens": 7, "temperature": 0.5, "tools": [Tool("look", "Look.")]}
    )
    (asked,) = site.server.asked
    assert (asked.method, asked.target) == ("POST", "/v1/chat/completions")
    assert asked.fields["authorization"] == f"Bearer {KEY}"
    assert asked.fields["accept-encoding"] == "identity"
    assert json.loads(asked.body) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 7,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Look.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
    }


def test_headers_are_sent_besides_the_key(site: Site) -> None:
    site.server.answer(*streamed(OpenAIUser))
    talk = site.user(OpenAIUser).conversation(headers={"X-Request-Id": "r1"})
    talk.say("One")
    talk.say("Two", headers={"X-Request-Id": "r2"})
    assert [asked.fields["x-request-id"] for asked in site.server.asked] == ["r1", "r2"]
    assert [asked.fields["authorization"] for asked in site.server.asked] == [f"Bearer {KEY}"] * 2


def test_a_message_as_it_is_sent(site: Site) -> None:
    site.server.answer(*streamed(AnthropicUser))
    site.ask(AnthropicUser, options={"system": "Be brief.", "tools": [Tool("look")], "max_tokens": 7})
    (asked,) = site.server.asked
    assert (asked.method, asked.target) == ("POST", "/v1/messages")
    assert (asked.fields["x-api-key"], asked.fields["anthropic-version"]) == (KEY, "2023-06-01")
    assert json.loads(asked.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "system": "Be brief.",
        "max_tokens": 7,
        "tools": [{"name": "look", "description": "", "input_schema": {"type": "object", "properties": {}}}],
        "stream": True,
    }


@pytest.mark.parametrize(
    ("behind", "path", "target"),
    [
        ("", {}, "/v1/chat/completions"),
        ("/v1", {}, "/v1/chat/completions"),
        ("/gateway/v1/", {}, "/gateway/v1/chat/completions"),
        ("/gateway", {}, "/gateway/v1/chat/completions"),
        ("/api/paas/v4", {"api_path": "/chat/completions"}, "/api/paas/v4/chat/completions"),
    ],
)
def test_any_base_url(site: Site, behind: str, path: dict[str, str], target: str) -> None:
    site.server.answer(*streamed(OpenAIUser))
    assert site.ask(host=site.server.url + behind, **path).ok
    assert site.server.asked[0].target == target


def test_an_option_of_none_takes_a_field_away_and_without_a_key_none_is_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_TEST_API_KEY")
    site.server.answer(*streamed(OpenAIUser))
    site.ask(options={"stream_options": None, "max_tokens": 9}, max_tokens_field="max_completion_tokens")
    (asked,) = site.server.asked
    sent = json.loads(asked.body)
    assert "stream_options" not in sent
    assert (sent["max_completion_tokens"], "authorization" in asked.fields) == (9, False)


@BOTH
def test_one_connection_for_all_requests_of_a_user(site: Site, kind: type[Any]) -> None:
    site.server.answer(*streamed(kind))
    user = site.user(kind)
    assert [user.chat("Hello").text() for _ in range(3)] == [HELLO] * 3
    assert (site.server.connections, len(site.server.asked)) == (1, 3)


# --- what comes back


@BOTH
def test_a_stream_in_pieces(site: Site, kind: type[Any]) -> None:
    body = STREAMS[kind]
    steps = [step for at in range(0, len(body), 50) for step in (part(body[at : at + 50]), PAUSE)]
    site.server.answer(HEAD, *steps, LAST)
    answer = site.ask(kind)
    assert (answer.text(), answer.error, answer.is_streamed) == (HELLO, "", True)
    assert answer.ttft_ms
    assert answer.e2e_ms
    assert answer.whole_ms
    assert 0 < answer.ttft_ms < answer.e2e_ms < answer.whole_ms < 1000
    assert site.reasons == [None]
    assert site.events[0]["response_time"] == pytest.approx(answer.whole_ms, abs=0.01)


def test_an_answer_that_is_not_streamed(site: Site) -> None:
    body = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": USAGE}
    site.server.answer(whole("200 OK", json.dumps(body).encode()))
    answer = site.ask(options={"stream": False})
    assert (answer.text(), answer.ok, answer.is_streamed, answer.output_tokens) == ("Hi", True, False, 3)
    assert "stream_options" not in json.loads(site.server.asked[0].body)
    assert {"ttft", "tpot", "icl", "ttfo", "tokens_per_chunk"} & site.node.metrics.keys() == set()
    assert site.node.metrics["e2e"] == [pytest.approx(answer.e2e_ms)]


def test_a_server_that_does_not_stream_though_asked(site: Site) -> None:
    body = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    site.server.answer(whole("200 OK", json.dumps(body).encode()))
    answer = site.ask()
    assert (answer.text(), answer.ok, answer.is_streamed) == ("Hi", True, False)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((HEAD, part(data(WORDS[0]).encode()), LAST), "stream ended early"),
        ((HEAD, part(data(WORDS[0]).encode()), CLOSE), "stream ended early"),
        ((HEAD, CLOSE), "stream ended early"),
        ((HEAD, part(b"data: {\n\n"), LAST), "malformed event"),
        (
            (HEAD, part(data({"error": {"code": 502, "message": "no"}}).encode()), LAST),
            "error in the stream: 502",
        ),
        ((HEAD, part((data(ROLE) + data(STOP) + "data: [DONE]\n\n").encode()), LAST), "no tokens"),
        ((b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",), "status 500"),
        (
            (whole("200 OK", b'{"object":"error","type":"BadRequestError","code":400}'),),
            "error in the stream: BadRequestError",
        ),
    ],
)
def test_failures_by_their_reasons(site: Site, steps: tuple[Any, ...], reason: str) -> None:
    site.server.answer(*steps)
    answer = site.ask()
    assert (answer.error, site.reasons) == (reason, [reason])
    assert {"ttft", "e2e", "icl", "output_tokens"} & site.node.metrics.keys() == set()


def test_what_said_that_it_was_done_is_whole_however_its_body_ends(site: Site) -> None:
    site.server.answer(HEAD, part(STREAMS[OpenAIUser]), RESET)
    answer = site.ask()
    assert (answer.text(), answer.error, site.reasons) == (HELLO, "", [None])


def test_nobody_answers(site: Site) -> None:
    site.server.close()
    answer = site.ask()
    assert (answer.error, answer.status, site.reasons) == ("connection refused", 0, ["connection refused"])
    assert "rate_limited" not in site.node.metrics


# --- timeouts


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((HANG,), "timed out: first token"),
        ((HEAD, part(PING), HANG), "timed out: first token"),
        ((HEAD, part(data(ROLE).encode()), HANG), "timed out: first token"),
        ((HEAD, part(data(WORDS[0]).encode()), HANG), "timed out: between tokens"),
        ((HEAD, part(data(WORDS[0]).encode()), *[PAUSE, part(PING)] * 5, HANG), "timed out: between tokens"),
    ],
)
def test_a_stall_ends_in_time(site: Site, steps: tuple[Any, ...], reason: str) -> None:
    site.server.answer(*steps)
    answer = site.ask(answer_timeouts=LIMIT)
    assert (answer.error, site.reasons) == (reason, [reason])
    assert site.events[0]["response_time"] >= 150


@pytest.mark.parametrize("stream", [True, False])
def test_the_limit_of_the_whole_request(site: Site, stream: bool) -> None:
    dribble = [PAUSE, part(data(WORDS[0]).encode())] * 200
    site.server.answer(*(HEAD, *dribble, HANG) if stream else (b"HTTP/1.1 200 OK\r\n", HANG))
    timeouts = AnswerTimeouts(first_token_s=5, between_tokens_s=5, total_s=0.2)
    answer = site.ask(options={"timeouts": timeouts, "stream": stream})
    assert (answer.error, site.reasons) == ("timed out: total", ["timed out: total"])


def test_pings_do_not_put_the_first_token_off(site: Site) -> None:
    site.server.answer(HEAD, *[PAUSE, part(PING)] * 200, HANG)
    answer = site.ask(answer_timeouts=LIMIT)
    assert answer.error == "timed out: first token"
    assert site.events[0]["response_time"] < 600


def test_tokens_in_time_may_take_as_long_as_they_like(site: Site) -> None:
    timeouts = AnswerTimeouts(first_token_s=0.2, between_tokens_s=0.2, total_s=5)
    dribble = [step for _ in range(100) for step in (PAUSE, part(data(WORDS[0]).encode()))]
    site.server.answer(HEAD, *dribble, part((data(STOP) + "data: [DONE]\n\n").encode()), LAST)
    answer = site.ask(answer_timeouts=timeouts)
    assert (answer.error, len(answer.piece_ns)) == ("", 100)
    assert answer.e2e_ms
    assert answer.e2e_ms > 400


# --- limits, errors, retries

LIMITED = whole(
    "429 Too Many Requests",
    b'{"error":{"message":"Slow down","type":"requests","code":"rate_limit_exceeded"}}',
    "retry-after: 0",
    "x-ratelimit-remaining-requests: 0",
    "x-ratelimit-remaining-tokens: 150",
)
OVERLOADED = whole(
    "529 Overloaded", b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
)


def test_a_limit_is_a_failure_of_its_own(site: Site) -> None:
    site.server.answer(LIMITED)
    answer = site.ask()
    assert (answer.error, answer.error_message) == ("429 rate_limit_exceeded", "Slow down")
    assert site.reasons == ["429 rate_limit_exceeded"]
    assert site.node.metrics["rate_limited"] == [100]
    assert site.node.metrics["overloaded"] == [0]
    assert (site.node.metrics["remaining_requests"], site.node.metrics["remaining_tokens"]) == ([0], [150])


@pytest.mark.parametrize(
    ("kind", "refusal", "error", "is_overload"),
    [
        (AnthropicUser, OVERLOADED, "529 overloaded_error", True),
        (OpenAIUser, whole("503 No", b'{"error":{"code":"overloaded"}}'), "503 overloaded", True),
        (OpenAIUser, whole("503 No", b"no backend"), "status 503", False),
    ],
)
def test_overload_is_one_too(
    site: Site, kind: type[Any], refusal: bytes, error: str, is_overload: bool
) -> None:
    site.server.answer(refusal)
    assert site.ask(kind).error == error
    assert site.node.metrics["overloaded"] == [100 if is_overload else 0]
    assert site.node.metrics["rate_limited"] == [0]


def test_limits_that_are_no_failures_are_kept_apart_from_answers(site: Site) -> None:
    site.server.answer(LIMITED)
    site.server.answer(*streamed(OpenAIUser))
    user = site.user(limits_are_failures=False)
    assert [user.chat("Hello", name="chat").ok for _ in range(2)] == [False, True]
    assert [(event["name"], event["exception"]) for event in site.events] == [
        ("chat (limited)", None),
        ("chat", None),
    ]


def test_nothing_is_tried_again_unless_asked(site: Site) -> None:
    site.server.answer(LIMITED)
    site.ask()
    assert len(site.server.asked) == 1
    assert "retries" not in site.node.metrics


def test_retries_are_requests_and_are_counted(site: Site) -> None:
    site.server.answer(LIMITED)
    site.server.answer(LIMITED)
    site.server.answer(*streamed(OpenAIUser))
    answer = site.ask(retries=5)
    assert (answer.ok, answer.retries) == (True, 2)
    assert site.reasons == ["429 rate_limit_exceeded", "429 rate_limit_exceeded", None]
    assert site.node.metrics["retries"] == [2]
    assert site.node.metrics["rate_limited"] == [100, 100, 0]
    assert len(site.node.metrics["ttft"]) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        whole("400 Bad Request", b'{"error":{"type":"invalid_request_error","message":"no"}}'),
        whole("429 Too Many Requests", b'{"error":{"code":"insufficient_quota"}}'),
    ],
)
def test_what_cannot_succeed_later_is_not_tried_again(site: Site, refusal: bytes) -> None:
    site.server.answer(refusal)
    assert not site.ask(retries=5).ok
    assert len(site.server.asked) == 1
    assert site.node.metrics["rate_limited"] == [0]


# --- secrets, and hostile servers


@pytest.mark.parametrize("status", ["401 Unauthorized", "200 OK"])
def test_a_key_that_the_server_quotes_is_in_no_reason_and_no_message(site: Site, status: str) -> None:
    quoted = {"error": {"message": f"bad key {KEY}", "type": KEY, "code": KEY}}
    site.server.answer(whole(status, json.dumps(quoted).encode()))
    answer = site.ask()
    assert KEY not in repr(answer)
    assert KEY not in repr(site.events[0]["exception"])
    assert answer.error_message == "bad key ***"


def test_no_part_of_a_key_is_left_where_a_long_message_is_cut(site: Site) -> None:
    quoted = {"error": {"message": KEY + "x" * 490 + KEY}}
    site.server.answer(whole("401 Unauthorized", json.dumps(quoted).encode()))
    message = site.ask().error_message
    assert KEY[:4] not in message
    assert message == "***" + "x" * 490 + "***"


def test_a_key_is_sent_to_no_other_host(site: Site) -> None:
    site.server.answer(
        b"HTTP/1.1 307 Elsewhere\r\nLocation: http://localhost:1/v1\r\nContent-Length: 0\r\n\r\n"
    )
    assert site.ask().error == "status 307"
    assert (len(site.server.asked), site.reasons) == (1, ["status 307"])


def test_a_code_that_is_no_word_is_not_shown(site: Site) -> None:
    refused = {"error": {"message": "a\x1b[31mb\nc" + "x" * 10_000, "code": "<b>" + "x" * 5000}}
    site.server.answer(whole("400 Bad Request", json.dumps(refused).encode()))
    answer = site.ask()
    assert answer.error == "status 400"
    assert answer.error_message.startswith("a?[31mb c")
    assert len(answer.error_message) == 500


def test_a_stream_that_stays_open_behind_an_error_ended_at_it(site: Site) -> None:
    site.server.answer(HEAD, part(b'data: {"error": {"message": "no", "type": "overloaded"}}\n\n'), HANG)
    assert site.ask().error == "error in the stream: overloaded"
    assert site.events[0]["response_time"] < 900  # though it was listened to for a second more


def test_an_error_without_end_is_not_read_to_it(site: Site) -> None:
    endless = [part(b"x" * 60_000), PAUSE] * 1000
    site.server.answer(HEAD.replace(b"200 OK", b"500 Oh"), *endless)
    assert site.ask().error == "status 500"
    assert site.server.hung_up.wait(2)


# --- the open model


def test_latencies_count_from_the_intended_start(site: Site) -> None:
    import time

    site.server.answer(*streamed(OpenAIUser))
    user = site.user()
    due_s = (time.perf_counter_ns() - 3_000_000_000) / 1e9
    user.perfload_visit = SimpleNamespace(is_first=True, due_s=due_s, phase="Load")
    late = user.chat("Hello")
    assert late.ttft_ms
    assert late.e2e_ms
    assert 3000 < late.ttft_ms <= late.e2e_ms < 4000
    assert site.node.metrics["ttft"] == [late.ttft_ms]
    user.perfload_visit.is_first = False  # the bridge does that when the request is recorded
    assert user.chat("Hello").ttft_ms < 1000


# --- several turns


@BOTH
def test_a_conversation_sends_what_was_said(site: Site, kind: type[Any]) -> None:
    site.server.answer(*streamed(kind))
    talk = site.user(kind).conversation(max_tokens=5)
    talk.say("One")
    talk.say("Two")
    said = HELLO if kind is OpenAIUser else [{"type": "text", "text": HELLO}]
    assert json.loads(site.server.asked[1].body)["messages"] == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "Two"},
    ]
    assert len(talk.messages) == 4


def test_a_turn_that_fails_leaves_no_trace(site: Site) -> None:
    site.server.answer(LIMITED)
    site.server.answer(*streamed(OpenAIUser))
    talk = site.user().conversation()
    assert not talk.say("One").ok
    assert talk.messages == []
    assert talk.say("Two").ok
    assert json.loads(site.server.asked[1].body)["messages"] == [{"role": "user", "content": "Two"}]


@pytest.mark.parametrize(
    ("kind", "name", "said", "given"),
    [
        (
            OpenAIUser,
            "a tool call in parts",
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ),
        (
            AnthropicUser,
            "thinking, text and a tool",
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm. So.", "signature": "abc"},
                    {"type": "text", "text": "Yes."},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}]},
        ),
    ],
)
def test_a_tool_is_called_and_its_result_given(
    site: Site, kind: type[Any], name: str, said: Any, given: Any
) -> None:
    stream = next(s.body for s in (*OPENAI, *ANTHROPIC) if s.name == name)
    site.server.answer(HEAD, part(stream), LAST)
    talk = site.user(kind).conversation()
    (call,) = talk.say("One").calls.values()
    assert (call["name"], call["arguments"]) == ("look", '{"a":1}')
    talk.give_results({call["id"]: "42"})
    assert json.loads(site.server.asked[1].body)["messages"][1:] == [said, given]


def test_reasoning_goes_back_as_it_came(site: Site) -> None:
    blocks = [
        {"type": "redacted_thinking", "data": "Zm9v"},
        {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
        {"type": "text", "text": "Yes."},
    ]
    body = json.dumps({"type": "message", "content": blocks, "stop_reason": "end_turn"}).encode()
    site.server.answer(whole("200 OK", body, "Content-Type: application/json"))
    talk = site.user(AnthropicUser).conversation(stream=False)
    talk.say("One")
    talk.say("Two")
    assert json.loads(site.server.asked[1].body)["messages"][1] == {"role": "assistant", "content": blocks}


def test_tools_that_the_server_calls_itself_are_nobody_elses(site: Site) -> None:
    given = {"type": "input_json_delta", "partial_json": '{"query":"red"}'}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    blocks = [
        block(0, {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}, given),
        block(1, found),
        block(2, {"type": "text", "text": ""}, text_delta("Dust.")),
    ]
    site.server.answer(HEAD, part((START + "".join(blocks) + END).encode()), LAST)
    talk = site.user(AnthropicUser).conversation()
    answer = talk.say("One")
    assert (answer.calls, answer.text("tool")) == ({}, 'web_search{"query":"red"}')
    assert talk.messages[1] == {"role": "assistant", "content": [{"type": "text", "text": "Dust."}]}


# --- money

PRICES = {"m": {"input": 10, "cached": 1, "output": 100}}


def test_what_an_answer_costs(site: Site) -> None:
    site.server.answer(*streamed(OpenAIUser))
    site.ask(prices=PRICES)
    # 4 tokens of input at 10, 8 cached at 1, 3 of output at 100, by the million
    assert site.node.metrics["cost"] == [pytest.approx(4 * 10 + 8 * 1 + 3 * 100)]
    assert site.node.units["cost"] == "millionths"


@pytest.mark.parametrize(
    ("cap", "words"),
    [
        ({"max_tokens_total": 30}, "30 tokens used, of 30 at most"),
        ({"max_cost": 0.0006, "prices": PRICES}, "0.000696 spent, of a cost of 0.0006 at most"),
    ],
)
def test_the_cap_stops_the_load(
    site: Site, cap: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(plugin.installed, "abort", lambda reason: told.append(reason) or True)
    site.server.answer(*streamed(OpenAIUser))
    user = site.user(**cap)
    user.chat("Hello")
    user.chat("Hello")
    for _ in range(2):
        with pytest.raises(StopUser):
            user.chat("Hello")
    assert len(site.server.asked) == 2
    assert told == [f"the spending cap is reached: {words}"]


def test_the_cap_of_the_configuration_counts_what_nobody_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plugin.installed is not None
    capped = replace(plugin.installed.config, ai_max_tokens=5.0)
    monkeypatch.setattr(plugin.installed, "_config", capped)
    site.server.answer(HEAD, part(next(s.body for s in OPENAI if s.name == "plain")), LAST)
    user = site.user()
    user.chat("Hello")  # 2 of input by its length, 3 pieces
    assert site.node.metrics["uncounted_answers"] == [1]
    with pytest.raises(StopUser):
        user.chat("Hello")


def test_a_failed_answer_is_paid_for_too(site: Site) -> None:
    site.server.answer(HEAD, part(data(chunk({"content": "a"}, usage=USAGE)).encode()), CLOSE)
    user = site.user(max_tokens_total=15, prices=PRICES)
    assert not user.chat("Hello").ok
    assert len(site.node.metrics["cost"]) == 1
    with pytest.raises(StopUser):
        user.chat("Hello")


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"max_cost": 5.0}, "Asker: there is a cap on cost, but no price of 'm'"),
        ({"max_cost": 0}, "Asker: max_cost is 0"),
        ({"prices": {"m": {"input": 1}}}, "Asker: prices: the price of 'm' is not understood"),
        ({"prices": {"m": {"input": -1, "output": 1}}}, "Asker: prices: 'input' of 'm' is -1"),
        ({"prices": "/no/such/file.json"}, "Asker: /no/such/file.json: no prices can be read"),
        ({"objectives": "llama2-71b"}, "Asker: there are no objectives named 'llama2-71b'"),
    ],
)
def test_terms_that_make_no_sense_are_found_before_the_load(
    site: Site, attributes: dict[str, Any], words: str
) -> None:
    asker = type(
        "Asker", (OpenAIUser,), {"model": "m", "abstract": False, "host": site.server.url, **attributes}
    )
    with pytest.raises(UsageError) as caught:
        check_users([asker])
    assert caught.value.message.startswith(words)
    assert caught.value.hint


# --- answers that nobody waits for


@pytest.mark.parametrize("end", [gevent.Timeout, GreenletExit], ids=["scenario", "runner"])
@pytest.mark.parametrize("begun", [True, False])
def test_an_answer_that_is_given_up_is_no_good_one_and_has_its_price(
    site: Site, end: type[BaseException], begun: bool
) -> None:
    body = data(chunk({"content": "a"}, usage=USAGE)).encode()
    site.server.answer(*(HEAD, part(body)) if begun else (), HANG)
    user = site.user(objectives="llama3.1-8b", prices=PRICES)
    asking = gevent.spawn(user.chat, "Hello")
    wait_for(lambda: bool(site.server.asked))
    gevent.sleep(0.1)
    asking.kill(end)
    assert len(site.events) == 1
    assert site.node.metrics["good"] == [0]
    assert len(site.node.metrics["cost"]) == begun
    assert "ttft" not in site.node.metrics


def test_a_user_who_leaves_before_a_retry_has_had_a_bad_answer(site: Site) -> None:
    site.server.answer(LIMITED.replace(b"retry-after: 0", b"retry-after: 50"))
    asking = gevent.spawn(site.user(objectives="llama3.1-8b", retries=3).chat, "Hello")
    wait_for(lambda: bool(site.events))
    asking.kill()
    assert (site.node.metrics["good"], site.node.metrics["retries"]) == ([0], [0])


def test_who_is_stopped_before_anything_is_sent_has_had_no_answer(site: Site) -> None:
    user = site.user(objectives="llama3.1-8b")
    asking = gevent.spawn(user.chat, "Hello")
    gevent.sleep(0)
    asking.kill()
    assert (site.events, site.node.metrics) == ([], {})
    assert spending.of_run("run-1").tokens == 0


def test_a_user_who_is_stopped_leaves_no_latency(site: Site) -> None:
    site.server.answer(HEAD, part(data(WORDS[0]).encode()), HANG)
    user = site.user()
    asking = gevent.spawn(user.chat, "Hello")
    gevent.sleep(0.1)
    asking.kill()
    assert site.reasons == ["no response when the run ended"]
    assert site.node.metrics == {}
