"""A recorded trace, replayed: requests of its lengths at its times.

    perfload target
    locust -f locustfiles/ai_trace.py,shapes/trace_replay.py --host http://localhost:8000

The shape names the trace. For another one, or a part of it:

    PERFLOAD_TRACE=BurstGPT_1.csv PERFLOAD_TRACE_START=3h PERFLOAD_TRACE_DURATION=10m locust -f ...

docs/trace-replay.md has the formats, and what is and is not as in the original.
"""

import os

from locust import task

from perfload.load import OpenAIUser, TraceUser, traced
from perfload.load.ai import TracePrompts

PROMPTS = TracePrompts()


class Replay(TraceUser, OpenAIUser):
    """Ask what one request of the trace asked, and leave."""

    model = os.environ.get("OPENAI_TEST_MODEL", "gpt-4o-mini")
    objectives = "llama3.1-8b"
    default_key = "sk-test-perfload"  # opens nothing but `perfload target`

    ignores_eos = True
    """Answers of exactly the recorded length: vLLM, SGLang and the emulator go on past the model's own end.

    OpenAI's own API refuses the option with status 400: False leaves the recorded length as the limit.
    """

    @task
    def ask(self) -> None:
        """Ask for as long an answer as was given."""
        prompt = PROMPTS.make(traced(self))
        exactly = True if self.ignores_eos else None
        self.chat(prompt.text, max_tokens=prompt.max_tokens, ignore_eos=exactly, name="replay")
