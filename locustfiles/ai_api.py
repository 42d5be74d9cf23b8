"""Language models as their clients use them: OpenAI's chat completions and Anthropic's messages, streamed.

    perfload target
    locust -f locustfiles/ai_api.py --host http://localhost:8000 --headless -u 50 -r 10 -t 60s
    locust -f locustfiles/ai_api.py,shapes/load_test.py --host http://localhost:8000
    locust -f locustfiles/ai_api.py --host https://api.openai.com --allow-host api.openai.com Chat LongPrompt

`perfload target` answers for any model and for the key below. A real provider needs its own key in
.env.performance (OPENAI_TEST_API_KEY, ANTHROPIC_TEST_API_KEY) and, like every host that is not this machine,
to be allowed. It costs money: name the classes of one provider at the end of the command line, as in the last
line above, and let PERFLOAD_AI_MAX_COST or PERFLOAD_AI_MAX_TOKENS stop the load. docs/ai.md has the metrics.
"""

import os
import random
from pathlib import Path

from locust import between, task

from perfload.load import AnthropicUser, OpenAIUser
from perfload.load.ai import Lengths, PromptFile, SyntheticPrompts, Tool

RANDOM = random.Random()
PROMPTS = PromptFile(Path(__file__).parent.parent / "data" / "prompts.jsonl")

# Requests with documents in front of the question: 800 tokens that all share, and some of their own.
DOCUMENTS = SyntheticPrompts(
    Lengths(1000, 0.4, lowest=850, highest=4000), shared_prefix=800, prefixes=3, output=Lengths(100, 0.5)
)

WEATHER = Tool(
    "current_weather",
    "The weather at a place, now.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)

OPENAI_MODEL = os.environ.get("OPENAI_TEST_MODEL", "gpt-4o-mini")
ANTHROPIC_MODEL = os.environ.get("ANTHROPIC_TEST_MODEL", "claude-3-5-haiku-latest")
OBJECTIVES = "llama3.1-8b"
TEST_KEY = "sk-test-perfload"  # opens nothing but `perfload target`


class ChatCompletions(OpenAIUser):
    """What all users of OpenAI's API have in common."""

    abstract = True
    wait_time = between(1, 3)
    model = OPENAI_MODEL
    objectives = OBJECTIVES
    default_key = TEST_KEY


class Messages(AnthropicUser):
    """What all users of Anthropic's API have in common."""

    abstract = True
    wait_time = between(1, 3)
    model = ANTHROPIC_MODEL
    objectives = OBJECTIVES
    default_key = TEST_KEY


class Chat(ChatCompletions):
    """Ask one question and read the answer as it is written."""

    weight = 50

    @task
    def ask(self) -> None:
        """Ask something of the file."""
        prompt = PROMPTS.pick(RANDOM)
        self.chat(prompt.text, system=prompt.system, max_tokens=prompt.max_tokens, name="chat")


class LongPrompt(ChatCompletions):
    """Ask about a long text whose beginning the server may have in its cache."""

    weight = 20

    @task
    def ask(self) -> None:
        """Ask something with a shared prefix."""
        prompt = DOCUMENTS.pick(RANDOM)
        self.chat(prompt.text, max_tokens=prompt.max_tokens, name="chat (long prompt)")


class Talk(Messages):
    """Talk for several turns; each sends all that was said before."""

    weight = 20

    @task
    def talk(self) -> None:
        """Say one turn after the other, as long as there are answers."""
        prompt = PROMPTS.pick(RANDOM)
        conversation = self.conversation(system=prompt.system, max_tokens=prompt.max_tokens)
        for number, turn in enumerate(prompt.turns, 1):
            if not conversation.say(turn, name=f"message (turn {number})").ok:
                return


class ToolUse(Messages):
    """Offer a tool, and give its result if the model asks for it."""

    weight = 10

    @task
    def use_tool(self) -> None:
        """Ask for the weather."""
        conversation = self.conversation(tools=[WEATHER])
        answer = conversation.say("What is the weather in Lisbon?", name="message (tool)")
        if answer.ok and answer.calls:
            results = {call["id"]: '{"celsius": 21}' for call in answer.calls.values()}
            conversation.give_results(results, name="message (tool result)")
