"""What of a server's own words may be looked at: short, on one line, and without the key."""

from __future__ import annotations

import re

from perfload.load.ai.answer import Answer

_LONGEST = 500
_ON_ONE_LINE = str.maketrans({"\r": " ", "\n": " "})
_NOT_SHOWN = re.compile(r"[^\x20-\x7e\xa0-\U0010ffff]")


def make_presentable(answer: Answer, key: str) -> None:
    """Take `key` out of why `answer` failed, for some servers quote it; keep as much as one may look at."""
    message = answer.error_message
    if key:
        # In all of it: a message that was cut first might end in a part of the key.
        message = message.replace(key, "***")
        answer.error = answer.error.replace(key, "***")
    answer.error_message = _NOT_SHOWN.sub("?", message[:_LONGEST].translate(_ON_ONE_LINE))
