"""Parts: every text of a record, one by one, and the record with other texts in their place.

Place on the road: beneath ``data.screening``, which must see all that a model would learn or be shown. Calls of tools
are JSON with their arguments written out, so that what stands in one is found and replaced like any other text.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from tuneward.data.reading import compact_json
from tuneward.domain.record import Message, Record


@dataclass(frozen=True)
class Part:
    """One text of a record.

    Attributes:
        name: where it stands: ``messages[N].content``, ``messages[N].tool_calls``, ``rejected.content``,
            ``rejected.tool_calls`` or ``tools``.
        text: what is written there.
        answer: whether it is an assistant's words.
        json: whether it is JSON by the record's own form.
    """

    name: str
    text: str
    answer: bool = False
    json: bool = False


def parts_of(record: Record) -> list[Part]:
    """The texts of a record in order."""
    parts = [part for number, m in enumerate(record.messages) for part in _message_parts(f"messages[{number}]", m)]
    if record.rejected:
        parts += _message_parts("rejected", record.rejected)
    if record.tools:
        parts.append(Part("tools", record.tools, json=True))
    return parts


def with_texts(record: Record, texts: dict[str, str]) -> Record:
    """The record with the text of every part that ``texts`` names; law: ``with_texts(r, {}) == r``."""
    messages = tuple(_rewritten(f"messages[{number}]", m, texts) for number, m in enumerate(record.messages))
    rejected = _rewritten("rejected", record.rejected, texts) if record.rejected else None
    return replace(record, messages=messages, rejected=rejected, tools=texts.get("tools", record.tools))


def _message_parts(name: str, message: Message) -> list[Part]:
    parts = [Part(f"{name}.content", message.content, answer=message.role == "assistant")]
    if message.tool_calls:
        parts.append(Part(f"{name}.tool_calls", _written_out(message.tool_calls), json=True))
    return parts


def _rewritten(name: str, message: Message, texts: dict[str, str]) -> Message:
    calls = texts.get(f"{name}.tool_calls")
    return Message(
        message.role,
        texts.get(f"{name}.content", message.content),
        message.tool_calls if calls is None else _folded(calls),
    )


def _written_out(calls: str) -> str:
    return _each(calls, lambda arguments: json.loads(arguments) if isinstance(arguments, str) else arguments)


def _folded(calls: str) -> str:
    return _each(calls, lambda arguments: arguments if isinstance(arguments, str) else compact_json(arguments))


def _each(calls: str, change: Any) -> str:
    listed = json.loads(calls)
    for call in listed:
        function = call["function"]
        function["arguments"] = change(function.get("arguments", {}))
    return compact_json(listed)
