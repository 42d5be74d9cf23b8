"""Servers at their most awkward: framing, endings, calls of tools, choices, hostile JSON, quoted keys."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfload.load import AnthropicUser, OpenAIUser
from perfload.load.ai import AnswerTimeouts, anthropic_wire, openai_wire
from perfload.load.ai.answer import MAX_CALLS, Answer
from perfload.load.ai.figures import figures_of
from perfload.load.ai.objectives import Objectives
from perfload.load.ai.prices import Price
from perfload.load.ai.retrying import wait_s
from perfload.load.ai.standing import Standing
from perfload.load.http.sse import Event, EventParser
from tests.load.ai.conftest import BOTH, HEAD, KEY, LAST, Site, part, whole
from tests.load.ai.corpus import (
    ANTHROPIC,
    HELLO,
    OPENAI,
    ROLE,
    STOP,
    USAGE,
    WORDS,
    chunk,
    data,
    event,
    openai,
)
from tests.load.http.servers import CLOSE, HANG, PAUSE, RESET

pytestmark = pytest.mark.ai

GOOD = openai(ROLE, *WORDS, STOP)
SHORT = AnswerTimeouts(first_token_s=0.15, between_tokens_s=0.15, total_s=5)


def read(body: bytes, **more: Any) -> Answer:
    answer = Answer(sent_ns=0, **more)
    for each in EventParser().feed(body, 1):
        openai_wire.take_event(answer, each)
    answer.end(1)
    return answer


# --- how a body may come


@pytest.mark.parametrize(
    "steps",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD), GOOD),
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", GOOD, CLOSE),
        (b"HTTP/1.1 200 OK\r\n\r\n", GOOD, CLOSE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", part(GOOD), LAST),
        (HEAD.replace(b"text/event-stream", b"TEXT/Event-Stream; charset=UTF-8"), part(GOOD), LAST),
        (HEAD, *[step for byte in GOOD for step in (part(bytes([byte])),)], LAST),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD, part(GOOD), LAST),
        (HEAD, part(b"\xef\xbb\xbf" + GOOD), LAST),
        (HEAD, part(b"retry: 10\nid: 7\n\n:" + b"x" * 200_000 + b"\n\n" + GOOD), LAST),
    ],
)
def test_a_stream_however_it_is_framed(site: Site, steps: tuple[Any, ...]) -> None:
    site.server.answer(*steps)
    answer = site.ask()
    assert (answer.text(), answer.error, answer.is_streamed) == (HELLO, "", True)


def test_a_type_of_content_is_written_in_any_case(site: Site) -> None:
    body = json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}).encode()
    site.server.answer(whole("200 OK", body).replace(b"application/json", b"Application/JSON"))
    answer = site.ask()
    assert (answer.text(), answer.error, answer.is_streamed) == ("Hi", "", False)


@given(
    st.lists(
        st.sampled_from(["\n\n", "\r\n\r\n", "\r\r", "\n\r\n", "\r\n\n", "\r\n\r"]), min_size=6, max_size=6
    )
)
def test_separators_of_every_kind_in_one_stream(ends: list[str]) -> None:
    body = "".join(data(said, end) for said, end in zip((ROLE, *WORDS, STOP), ends, strict=False))
    assert read((body + f"data: [DONE]{ends[-1]}\n").encode()).text() == HELLO


def test_a_stream_that_is_compressed_though_nobody_asked_for_it(site: Site) -> None:
    site.server.answer(
        HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), part(gzip.compress(GOOD)), LAST
    )
    assert site.ask().error == "the stream is compressed"


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_may_be_compressed(site: Site, stream: bool) -> None:
    refused = gzip.compress(b'{"error":{"message":"no money","code":"insufficient_quota"}}')
    site.server.answer(whole("429 No", refused, "Content-Encoding: gzip"))
    answer = site.ask(options={"stream": stream}, retries=3)
    assert (answer.error, answer.error_message) == ("429 insufficient_quota", "no money")
    assert len(site.server.asked) == 1


def test_an_error_that_is_no_larger_than_it_looks(site: Site) -> None:
    bomb = gzip.compress(b'{"error":{"code":"' + b"x" * 50_000_000 + b'"}}')
    site.server.answer(whole("500 Oh", bomb, "Content-Encoding: gzip"))
    assert site.ask(options={"stream": False}).error == "status 500"


# --- how it may end


def test_what_follows_the_end_is_no_part_of_the_answer(site: Site) -> None:
    more = (
        data({"error": {"code": "too_late"}}) + data(chunk({"content": "more"}, usage=USAGE)) + "data: {\n\n"
    )
    site.server.answer(HEAD, part(GOOD + more.encode()), part(more.encode()), LAST)
    user = site.user()
    for _ in range(2):
        answer = user.chat("Hello")
        assert (answer.text(), answer.error, answer.output_tokens) == (HELLO, "", None)
    assert site.server.connections == 1


@pytest.mark.parametrize("rest", [(), (part(b": still here\n\n"),), (part(b"data: x" * 20_000),)])
def test_a_stream_that_is_done_but_is_not_closed_has_ended(site: Site, rest: tuple[bytes, ...]) -> None:
    site.server.answer(HEAD, part(GOOD), *rest, HANG)
    answer = site.ask()
    assert (answer.text(), answer.error, site.reasons) == (HELLO, "", [None])
    assert answer.e2e_ms
    assert answer.whole_ms
    # A second is waited for the end of the body; it is no part of the answer's time, nor of the request's.
    assert answer.whole_ms - answer.e2e_ms < 500
    assert site.events[0]["response_time"] == pytest.approx(answer.whole_ms, abs=0.01)


def test_a_server_that_never_ends_is_not_listened_to_for_ever(site: Site) -> None:
    site.server.answer(HEAD, part(GOOD), *[part(b": more\n" * 1000), PAUSE] * 500, HANG)
    assert site.ask().error == ""
    assert site.server.hung_up.wait(2)


FAILURES = {
    "reset before the head": (RESET,),
    "closed before the head": (CLOSE,),
    "closed after the head": (HEAD, CLOSE),
    "cut off in a chunk": (HEAD, b"ffff\r\n" + GOOD[:100], CLOSE),
    "reset in mid-stream": (HEAD, part(GOOD[:300]), RESET),
    "an error in the stream, more behind it": (
        HEAD,
        part(data({"error": {"code": "oh"}}).encode() + GOOD),
        HANG,
    ),
    "not JSON": (HEAD, part(b"data: <\n\n" + GOOD), HANG),
    "no first token": (HEAD, part(b": ping\n\n"), HANG),
    "no next token": (HEAD, part(data(WORDS[0]).encode()), HANG),
    "no head": (HANG,),
    "not HTTP": (b"+OK\r\n", HANG),
    "an event without end": (HEAD, *[part(b"data: " + b"x" * (1 << 20))] * 17, HANG),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", HANG),
    "an error without end": (HEAD.replace(b"200 OK", b"500 Oh"), *[part(b"x" * 40_000)] * 2, HANG),
}


@pytest.mark.parametrize("steps", FAILURES.values(), ids=FAILURES)
def test_after_a_failure_the_next_answer_is_its_own(site: Site, steps: tuple[Any, ...]) -> None:
    site.server.answer(*steps)
    site.server.answer(HEAD, part(GOOD), LAST)
    user = site.user(answer_timeouts=SHORT)
    failed, answer = user.chat("Hello"), user.chat("Hello")
    assert failed.error
    assert (answer.text(), answer.error) == (HELLO, "")
    assert site.server.connections == 2
    assert site.reasons == [failed.error, None]


@pytest.mark.parametrize("status", ["400 No", "429 Slow", "500 Oh", "529 Full"])
def test_a_refusal_leaves_the_connection_as_it_was(site: Site, status: str) -> None:
    site.server.answer(whole(status, b'{"error":{"code":"oh"}}'))
    site.server.answer(HEAD, part(GOOD), LAST)
    user = site.user()
    assert [user.chat("Hello").error for _ in range(2)] == [f"{status[:3]} oh", ""]
    assert site.server.connections == 1


@BOTH
def test_an_answer_that_is_too_large_is_given_up(
    site: Site, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from perfload.load.ai import reading

    monkeypatch.setattr(reading, "MAX_ANSWER_BYTES", 1000)
    stream = (OPENAI if kind is OpenAIUser else ANTHROPIC)[0].body
    site.server.answer(HEAD, part(stream.replace(b"Hel", b"x" * 2000)), LAST)
    assert site.ask(kind).error == "answer too large"


@BOTH
def test_what_is_no_piece_has_no_more_room(
    site: Site, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identifiers, and reasoning that nobody may read, are kept without being pieces."""
    from perfload.load.ai import reading

    monkeypatch.setattr(reading, "MAX_ANSWER_BYTES", 10_000)
    secret = {"type": "redacted_thinking", "data": "x" * 2000}
    parts = {
        OpenAIUser: [data(chunk({"tool_calls": [{"index": at, "id": "x" * 2000}]})) for at in range(20)],
        AnthropicUser: [event("content_block_start", index=at, content_block=secret) for at in range(20)],
    }
    site.server.answer(HEAD, part("".join(parts[kind]).encode()), HANG)
    answer = site.ask(kind, answer_timeouts=AnswerTimeouts(first_token_s=0.3))
    assert (answer.error, answer.piece_ns) == ("answer too large", [])


@pytest.mark.parametrize("stream", [True, False])
def test_what_comes_at_once_has_no_more_room(
    site: Site, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perfload.load.ai import reading

    monkeypatch.setattr(reading, "MAX_ANSWER_BYTES", 1000)
    said = {"choices": [{"index": 0, "message": {"content": "x" * 2000}, "finish_reason": "stop"}]}
    site.server.answer(whole("200 OK", json.dumps(said).encode()))
    answer = site.ask(options={"stream": stream})
    assert (answer.error, answer.text(), site.reasons) == ("answer too large", "", ["answer too large"])


# --- tools, in every way in which their calls come


def call(place: int | None = None, **parts: str) -> dict[str, Any]:
    function = {name: parts.pop(name) for name in ("name", "arguments") if name in parts}
    return ({} if place is None else {"index": place}) | parts | {"function": function}


ONE = {"id": "c1", "name": "look", "arguments": '{"a":1}'}
TWO = {"id": "c2", "name": "find", "arguments": "{}"}
IN_PARTS = {
    "interleaved, by their place": (
        [call(0, id="c1", name="look", arguments="")],
        [call(1, id="c2", name="find", arguments="")],
        [call(0, arguments='{"a":'), call(1, arguments="{")],
        [call(1, arguments="}"), call(0, arguments="1}")],
    ),
    "whole, without a place": ([call(**ONE)], [call(**TWO)]),
    "whole, in one delta, without a place": ([call(**ONE), call(**TWO)],),
    "whole, all at place 0": ([call(0, **ONE)], [call(0, **TWO)]),
    "without a place, in parts": (
        [call(id="c1", name="look", arguments='{"a"')],
        [call(arguments=":1}")],
        [call(id="c2", name="find", arguments="{")],
        [call(arguments="}")],
    ),
    "identifier and name with every part": (
        [call(0, id="c1", name="look", arguments='{"a"')],
        [call(0, id="c1", name="look", arguments=":1}")],
        [call(1, id="c2", name="find", arguments="{")],
        [call(1, id="c2", name="find", arguments="}")],
    ),
    "the name in parts": (
        [call(0, id="c1", name="lo"), call(1, id="c2", name="fi")],
        [call(0, id="", name="ok", arguments='{"a":1}'), call(1, name="nd", arguments="{}")],
    ),
}


@pytest.mark.parametrize("deltas", IN_PARTS.values(), ids=IN_PARTS)
def test_several_calls_at_once(deltas: tuple[list[dict[str, Any]], ...]) -> None:
    answer = read(openai(*(chunk({"tool_calls": calls}) for calls in deltas), chunk({}, "tool_calls")))
    assert list(answer.calls.values()) == [ONE, TWO]
    assert answer.error == ""


def test_several_calls_in_an_answer_that_was_not_streamed() -> None:
    """There they never have a place."""
    answer = Answer(sent_ns=0)
    message = {"content": None, "tool_calls": [call(**ONE), call(**TWO)]}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
    openai_wire.take_body(answer, json.dumps(body).encode(), 1)
    assert list(answer.calls.values()) == [ONE, TWO]


def test_a_server_does_not_choose_how_many_calls_are_kept() -> None:
    calls = [[call(place, id=f"c{place}", name="x", arguments="y")] for place in range(MAX_CALLS + 50)]
    answer = read(openai(*(chunk({"tool_calls": each}) for each in calls), STOP))
    assert len(answer.calls) == MAX_CALLS
    assert len(answer.piece_ns) == MAX_CALLS + 50


def test_arguments_in_very_many_parts_take_no_longer_than_they_are_long() -> None:
    answer = Answer(sent_ns=0)
    began_s = time.process_time()
    for _ in range(300_000):
        answer.add_call(0, arguments="0123456789")
    assert len(answer.calls[0]["arguments"]) == 3_000_000
    # A fraction of a second; put behind each other one by one, they would take most of a minute.
    assert time.process_time() - began_s < 10


# --- several choices


def of_choice(place: int, text: str = "", finish: str | None = None) -> dict[str, Any]:
    delta = {"content": text} if text else {}
    return chunk(choices=[{"index": place, "delta": delta, "finish_reason": finish}])


def test_several_choices_are_one_answer_whose_text_is_the_first() -> None:
    body = openai(
        *(of_choice(place, text) for text in ("A", "B") for place in (0, 1)),
        of_choice(1, finish="length"),
        of_choice(0, finish="stop"),
        done=False,
    )
    answer = read(body, choices=2)
    assert (answer.text(), len(answer.piece_ns), answer.finish_reason, answer.error) == ("AB", 4, "stop", "")


def test_an_answer_of_which_a_choice_is_missing_is_not_whole(site: Site) -> None:
    body = openai(of_choice(0, "A", "stop"), of_choice(1, "B"), done=False)
    site.server.answer(HEAD, part(body), LAST)
    assert site.ask(options={"n": 2}).error == "stream ended early"
    assert site.ask(options={"n": 1}).ok


def test_who_gives_fewer_choices_than_asked_for_and_says_that_this_is_all_is_believed() -> None:
    assert read(openai(of_choice(0, "A", "stop")), choices=3).ok
    answer = Answer(sent_ns=0, choices=3)
    body = {"choices": [{"index": 0, "message": {"content": "A"}, "finish_reason": "stop"}]}
    openai_wire.take_body(answer, json.dumps(body).encode(), 1)
    assert answer.ok


# --- what else is counted


def test_usage_may_be_in_the_choice() -> None:
    last = chunk({}, "stop")
    last["choices"][0]["usage"] = USAGE
    assert read(openai(*WORDS, last)).usage.output_tokens == 3


def test_a_stamp_that_goes_back_makes_no_content_before_the_first_token() -> None:
    answer = Answer(sent_ns=0)
    answer.add("reasoning", "Hm.", 2_000_000)
    answer.add("content", "So.", 1_999_000)
    assert answer.ttft_ms == answer.ttfo_ms == 2.0


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(-(10**30), 10**400),
    lambda held: st.lists(held, max_size=3) | st.dictionaries(st.text(max_size=5), held, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path, *(place for key in keys for place in places(value[key], (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    held = dict(value) if isinstance(value, dict) else list(value)
    held[path[0]] = replaced(held[path[0]], path[1:], other)
    return held


CALLS = chunk({"tool_calls": [call(0, **ONE)]})
SAID = {
    openai_wire: [
        ROLE,
        WORDS[0],
        CALLS,
        chunk({"reasoning_content": "a", "content": [{"type": "text", "text": "b"}]}, "stop", usage=USAGE),
        {"error": {"message": "a", "code": 3, "type": "b"}},
    ],
    anthropic_wire: [
        json.loads(line.removeprefix("data: "))
        for stream in ANTHROPIC
        if stream.name in {"thinking, text and a tool", "overloaded in mid-stream"}
        for line in stream.body.decode().splitlines()
        if line.startswith("data: ")
    ],
}


@given(st.data(), st.sampled_from([openai_wire, anthropic_wire]))
@settings(deadline=None, max_examples=400)
def test_a_value_of_another_kind_anywhere_is_no_reason_to_fall_over(given_: st.DataObject, wire: Any) -> None:
    answer = Answer(sent_ns=0)
    for said in SAID[wire]:
        wrong = replaced(said, given_.draw(st.sampled_from(places(said))), given_.draw(VALUES))
        wire.take_event(answer, Event("message", json.dumps(wrong), "", None, 1))
        wire.take_body(Answer(sent_ns=0), json.dumps(wrong).encode(), 1)
        wire.code_of(wrong if isinstance(wrong, dict) else {})
        wire.message_of(wrong if isinstance(wrong, dict) else {})
    answer.error, answer.is_whole = "", True
    answer.end(2)
    figures = list(figures_of(answer, Price(1.0, 1.0, 1.0), Objectives(1, 1, 1)))
    assert all(0 <= value < float("inf") for figure in figures for value in figure.values)
    assert all(isinstance(text, str) for held in answer.calls.values() for text in held.values())


@pytest.mark.parametrize(
    "hostile",
    ["[" * 100_000, '{"a":' * 100_000, "1" * 100_000, '{"choices":' + "[" * 5000 + "]" * 5000 + "}"],
)
def test_hostile_json_is_malformed_and_no_more(hostile: str) -> None:
    assert read(f"data: {hostile}\n\n".encode()).error == "malformed event"


def test_half_a_character_can_be_said_again(site: Site) -> None:
    site.server.answer(
        HEAD, part(b'data: {"choices":[{"delta":{"content":"\\ud83d"},"finish_reason":"stop"}]}\n\n'), LAST
    )
    talk = site.user().conversation()
    assert talk.say("One").ok
    assert talk.say("Two").ok
    assert len(json.loads(site.server.asked[1].body)["messages"]) == 3


# --- secrets


@pytest.mark.parametrize("before", range(480, 520, 3))
def test_not_even_half_a_key_is_shown(site: Site, before: int) -> None:
    quoted = {"error": {"message": "x" * before + KEY + "y" * 100}}
    site.server.answer(whole("401 No", json.dumps(quoted).encode()))
    answer = site.ask()
    assert not any(KEY[:length] in answer.error_message for length in (6, len(KEY)))
    assert len(answer.error_message) <= 500


@pytest.mark.parametrize("before", [0, 180, 190, 490])
def test_a_key_in_what_is_no_json_is_not_shown(site: Site, before: int) -> None:
    site.server.answer(HEAD, part(b"data: " + b"x" * before + KEY.encode() + b"\n\n"), LAST)
    answer = site.ask()
    assert answer.error == "malformed event"
    assert KEY[:6] not in repr(answer)


def test_a_key_in_a_redirect_is_not_followed_and_not_shown(site: Site) -> None:
    location = f"{site.server.url}/?key={KEY}"
    site.server.answer(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
    assert site.ask().error == "status 302"
    assert len(site.server.asked) == 1
    shown = {name: value for name, value in site.events[0].items() if name != "response"}
    assert KEY not in repr(shown)


@pytest.mark.parametrize("key", ["kx-with\nline", "kx-ключ"])
def test_a_key_that_no_header_can_hold_is_not_quoted(
    site: Site, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_TEST_API_KEY", key)
    with pytest.raises(ValueError, match="header field") as caught:
        site.ask()
    assert key not in str(caught.value)


# --- when to try again

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30", "date": DATE}, None),
        ({"retry-after": "soon", "date": DATE}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e999"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "1s"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": ""}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "ms"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9" * 400 + "s"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1s", "retry-after": "9"}, 9.0),
    ],
)
def test_when_to_try_again(headers: dict[str, str], after_s: float | None) -> None:
    assert Standing.of(headers).retry_after_s == after_s


@given(st.text(), st.text(), st.text())
def test_headers_may_say_anything(after: str, date: str, reset: str) -> None:
    headers = {"retry-after": after, "date": date, "x-ratelimit-remaining-tokens": "0"}
    Standing.of(headers)
    del headers["retry-after"]
    after_s = Standing.of(headers | {"x-ratelimit-reset-tokens": reset}).retry_after_s
    assert after_s is None or after_s >= 0


def test_however_often_it_is_tried_the_wait_has_a_limit() -> None:
    assert wait_s(Standing(), 0, 3.0) == 0.5
    assert wait_s(Standing(), 100_000, 3.0) == 3.0
    assert wait_s(Standing(retry_after_s=1e9), 0, 3.0) == 3.0


def test_a_request_that_is_too_large_to_be_sent_is_not_tried_again(site: Site) -> None:
    user = site.user(retries=3)
    user.client._max_request_bytes = 10
    assert user.chat("Hello").error == "request too large"
    assert site.reasons == ["request too large"]


def test_events_between_anthropic_events_are_no_tokens(site: Site) -> None:
    from perfload.load import AnthropicUser

    stream = ANTHROPIC[0].body.decode().replace("\n\n", "\n\n" + event("ping") + ": note\n\n")
    site.server.answer(HEAD, part(stream.encode()), LAST)
    answer = site.ask(AnthropicUser)
    assert (answer.text(), len(answer.piece_ns), answer.error) == (HELLO, 3, "")
