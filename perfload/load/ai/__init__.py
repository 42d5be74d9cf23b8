"""Language models behind HTTP APIs: users that ask them, what their streams say, and when.

- users, conversation, tools, prompts, trace_prompts: what scenarios are made of
- openai_wire, anthropic_wire, json_values: what servers send, as an answer
- reading, answer, quoting: one answer as it arrives; its times; what of its words may be shown
- figures, objectives, prices: what is recorded of it
- standing, retrying: what the server says of its limits, and when to try again
- terms, budget, spending: how much may be spent
"""

from perfload.load.ai.answer import Answer, Usage
from perfload.load.ai.conversation import Conversation
from perfload.load.ai.objectives import Objectives
from perfload.load.ai.prompts import Lengths, Prompt, PromptFile, SyntheticPrompts
from perfload.load.ai.reading import AnswerTimeouts
from perfload.load.ai.tools import Tool
from perfload.load.ai.trace_prompts import TracePrompts
from perfload.load.ai.users import AnthropicUser, OpenAIUser

__all__ = [
    "Answer",
    "AnswerTimeouts",
    "AnthropicUser",
    "Conversation",
    "Lengths",
    "Objectives",
    "OpenAIUser",
    "Prompt",
    "PromptFile",
    "SyntheticPrompts",
    "Tool",
    "TracePrompts",
    "Usage",
]
