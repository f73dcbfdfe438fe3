"""ShareGPT: turns as ``from`` and ``value``, told in OpenAI's words.

Place on the road: asked by ``data.conversations`` for every turn; the only file that knows these names. Source: the
``sharegpt`` form as LLaMA-Factory and FastChat read it (``human``, ``gpt``, ``function_call``, ``observation``).
"""

from collections.abc import Mapping
from typing import Any, Final

from tuneward.data.parsing import parse_json

#: ShareGPT's speakers → OpenAI's roles; other names stay as they are and are refused as roles.
_ROLES: Final[Mapping[str, str]] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "observation": "tool",
    "function_response": "tool",
    "tool": "tool",
}


def as_openai(turn: Any) -> Any:
    """A turn with ``from`` and ``value`` as one with ``role`` and ``content``; any other value as it is."""
    if not isinstance(turn, Mapping) or "from" not in turn or "value" not in turn or "role" in turn:
        return turn
    speaker, value = turn["from"], turn["value"]
    role = _ROLES.get(speaker, speaker) if isinstance(speaker, str) else speaker
    if speaker != "function_call":
        return {"role": role, "content": value}
    return {"role": role, "content": "", "tool_calls": _calls(value)}


def _calls(value: Any) -> Any:
    """The calls of a turn, a list of names with arguments; what is no JSON stays text, and is refused as no call."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return [value]
    return value if isinstance(value, list) and value else [value]
