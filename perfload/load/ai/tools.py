"""Functions that a model may call, said once for both providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JsonTool = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function, with its parameters as a JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def for_openai(self) -> JsonTool:
        """Return it as chat completions want it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def for_anthropic(self) -> JsonTool:
        """Return it as messages want it."""
        return {"name": self.name, "description": self.description, "input_schema": dict(self.parameters)}


Tools = Sequence[Tool | Mapping[str, Any]]
"""A mapping is sent as it is."""
