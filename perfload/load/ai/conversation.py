"""Several turns with a model: what was said before is sent with every request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from perfload.load.ai.answer import Answer

Message = dict[str, Any]


class Speaker(Protocol):
    """A user who knows the form of one provider."""

    def chat(self, messages: list[Message], **options: Any) -> Answer:
        """Send `messages` and return the answer."""

    def said(self, answer: Answer) -> Message:
        """Return the message that `answer` is, as a later request has it."""

    def results(self, by_call: Mapping[str, str]) -> list[Message]:
        """Return what came of the calls of tools, as a later request has it."""


class Conversation:
    """Keeps the messages of one conversation. A turn that fails leaves no trace in it.

    `options` are those of `chat`, for every turn.
    """

    def __init__(self, user: Speaker, **options: Any) -> None:
        self._user = user
        self._options = options
        self.messages: list[Message] = []

    def say(self, text: str, **options: Any) -> Answer:
        """Say `text` and return the answer."""
        return self._turn([{"role": "user", "content": text}], options)

    def give_results(self, by_call: Mapping[str, str], **options: Any) -> Answer:
        """Say what came of the calls that the last answer asked for, by their `id`; return the answer."""
        return self._turn(self._user.results(by_call), options)

    def _turn(self, messages: list[Message], options: dict[str, Any]) -> Answer:
        asked = [*self.messages, *messages]
        answer = self._user.chat(asked, **{**self._options, **options})
        if answer.ok:
            self.messages = [*asked, self._user.said(answer)]
        return answer
