"""What OpenAI's chat completions say, as a stream or at once; and what compatible servers make of it.

Source: https://platform.openai.com/docs/api-reference/chat-streaming. Seen in compatible servers:
`choices: null`, usage in every chunk or in the choice, `reasoning_content` or `reasoning`, comment lines,
errors under status 200, calls of tools that all have the place 0 or none.
"""

from __future__ import annotations

from perfload.load.ai.answer import MALFORMED, Answer
from perfload.load.ai.json_values import JsonObject, a_count, a_text, a_word, an_object, objects, parsed
from perfload.load.http.sse import Event

DONE = "[DONE]"
_LONGEST_DONE = 32
IN_STREAM = "error in the stream"


def take_event(answer: Answer, event: Event) -> None:
    """Add what one event of a stream says to `answer`."""
    if len(event.data) < _LONGEST_DONE and event.data.strip() == DONE:
        answer.is_whole = answer.is_done = True
        return
    chunk = parsed(event.data)
    if chunk is None:
        answer.fail(MALFORMED, event.data)
        return
    if _is_error(chunk) or event.event == "error":
        fail(answer, chunk)
        return
    _take_usage(answer, chunk)
    for choice in objects(chunk, "choices"):
        place = a_count(choice, "index") or 0
        _take_pieces(answer, an_object(choice, "delta"), event.received_ns, place)
        _take_finish(answer, choice, place)


def take_body(answer: Answer, body: bytes, at_ns: int) -> None:
    """Fill `answer` from a response that was not streamed: all of it arrived at `at_ns`."""
    whole = parsed(body)
    if whole is None:
        answer.fail(MALFORMED, body.decode("utf-8", "replace"))
    elif _is_error(whole):
        fail(answer, whole)
    else:
        _take_usage(answer, whole)
        for place, choice in enumerate(objects(whole, "choices")):
            _take_pieces(answer, an_object(choice, "message"), at_ns, place)
            _take_finish(answer, choice, place)
        answer.is_whole = bool(answer.finished)
    answer.end(at_ns)


def fail(answer: Answer, body: JsonObject) -> None:
    """Note the error object of a stream, or of a body under a status that says nothing of it."""
    code = code_of(body)
    answer.fail(f"{IN_STREAM}: {code}" if code else IN_STREAM, message_of(body))


def code_of(body: JsonObject) -> str:
    """Return what kind of error `body` tells of; "" where it does not say."""
    error = an_object(body, "error") or body
    code = a_text(error, "code")
    number = code if code.isdecimal() else a_count(error, "code") or a_count(error, "http_status_code") or ""
    return a_word(error, "code") or a_word(error, "type") or str(number)[:9]


def message_of(body: JsonObject) -> str:
    """Return the server's own words."""
    return a_text(an_object(body, "error") or body, "message") or a_text(body, "error")


def _is_error(body: JsonObject) -> bool:
    # The second is vLLM's, of before 0.10.
    return bool(body.get("error")) or body.get("object") == "error"


def _take_pieces(answer: Answer, delta: JsonObject, at_ns: int, choice: int) -> None:
    if (content := delta.get("content")) and isinstance(content, str):
        answer.add("content", content, at_ns, choice)
    elif content:
        _take_parts(answer, delta, at_ns, choice)
    if len(delta) == 1 and content is not None:
        return  # nearly all of them
    answer.add("reasoning", a_text(delta, "reasoning_content") or a_text(delta, "reasoning"), at_ns, choice)
    answer.add("content", a_text(delta, "refusal"), at_ns, choice)
    calls = [*objects(delta, "tool_calls"), *([delta] if "function_call" in delta else [])]
    answer.add("tool", "".join(_take_call(answer, call, choice) for call in calls), at_ns, choice)


def _take_parts(answer: Answer, delta: JsonObject, at_ns: int, choice: int) -> None:
    """Take content in typed parts: Mistral sends text and thinking so."""
    for part in objects(delta, "content"):
        thoughts = "".join(a_text(thought, "text") for thought in objects(part, "thinking"))
        answer.add("reasoning", thoughts, at_ns, choice)
        answer.add("content", a_text(part, "text"), at_ns, choice)


def _take_call(answer: Answer, call: JsonObject, choice: int) -> str:
    """Take a part of a call; return what of it was generated: the name of the function as its arguments."""
    function = an_object(call, "function") or an_object(call, "function_call")
    name, arguments = a_text(function, "name"), a_text(function, "arguments")
    if choice:
        return name + arguments
    return answer.add_call(a_count(call, "index"), id=a_text(call, "id"), name=name, arguments=arguments)


def _take_finish(answer: Answer, choice: JsonObject, place: int) -> None:
    reason = a_text(choice, "finish_reason")
    if reason:
        answer.finish(reason, place)
        _take_usage(answer, choice)  # where Moonshot has it


def _take_usage(answer: Answer, chunk: JsonObject) -> None:
    """Take what has been counted: in every chunk, where servers do so, the last one has it all."""
    usage = an_object(chunk, "usage")
    if not usage:
        return
    held = answer.usage
    held.input_tokens = _latest(a_count(usage, "prompt_tokens"), held.input_tokens)
    held.output_tokens = _latest(a_count(usage, "completion_tokens"), held.output_tokens)
    cached = a_count(an_object(usage, "prompt_tokens_details"), "cached_tokens")
    held.cached_tokens = _latest(cached, held.cached_tokens)
    thought = a_count(an_object(usage, "completion_tokens_details"), "reasoning_tokens")
    held.reasoning_tokens = _latest(thought, held.reasoning_tokens)


def _latest(said: int | None, before: int | None) -> int | None:
    return before if said is None else said
