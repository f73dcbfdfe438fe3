"""Tools: what a chat template is shown of tools and of calls to them, and the proof that it wrote them down.

Place on the road: beneath ``template``. Knows OpenAI's form of tools and calls; knows no tokens. Arguments reach a
template as objects, as transformers hands them over, whether a row holds them as objects or as JSON text.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tuneward.domain.record import Message
from tuneward.errors import Fault, ModelError

_OTHER_BASE = "take a base whose chat template knows tools, or give it one in chat_template.jinja"


def tool_list(tools: str | None) -> list[dict[str, Any]] | None:
    """The tools that a record names, as a template takes them; None where there are none.

    Raises:
        ModelError: the text is no JSON list of objects.
    """
    return _objects(tools, "tools") if tools is not None else None


def listed(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as a template takes them.

    Results of tools follow the calls in order: the first ``tool`` message after a turn answers its first call, and
    carries that call's id and name. A call without an id gets one of nine letters and digits, as Mistral wants it.

    Raises:
        ModelError: calls are no JSON list of objects with a function each.
    """
    values: list[dict[str, Any]] = []
    open_calls: list[dict[str, Any]] = []
    for message in messages:
        value: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls is not None:
            value["tool_calls"] = calls_of(message)
            open_calls = list(value["tool_calls"])
        elif message.role == "tool" and open_calls:
            call = open_calls.pop(0)
            value |= {"tool_call_id": call["id"], "name": call["function"]["name"]}
        values.append(value)
    return values


def calls_of(message: Message) -> list[dict[str, Any]]:
    """The calls of an assistant's turn, arguments as objects.

    Raises:
        ModelError: they are no JSON list of objects with a function each.
    """
    calls = []
    for number, call in enumerate(_objects(message.tool_calls or "[]", "calls")):
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _unplaced("a call names no function", 'write {"type": "function", "function": {"name": …}}')
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            arguments = _parsed(arguments or "{}", "a call's arguments")
        identifier = call.get("id") or f"call{number:05d}"
        calls.append({"id": identifier, "type": "function", "function": {**function, "arguments": arguments}})
    return calls


def texts_of(messages: Sequence[Message], tools: str | None) -> Iterator[str]:
    """Every text in tools and calls that a template may write."""
    for message in messages:
        if message.tool_calls is not None:
            yield from _texts(calls_of(message))
    yield from _texts(tool_list(tools) or [])


def require_calls(message: Message, text: str) -> None:
    """Prove that ``text``, a turn as the template wrote it, names every function called and all that it is given.

    Raises:
        ModelError: something is missing.
    """
    for call in calls_of(message):
        for part in (call["function"]["name"], *_texts(call["function"]["arguments"])):
            if not any(form in text for form in (part, json.dumps(part, ensure_ascii=False)[1:-1], _escaped(part))):
                raise _unplaced("the chat template leaves out a call or some of its arguments", _OTHER_BASE)


def require_tools(tools: str | None, text: str) -> None:
    """Prove that a rendering names every tool.

    Raises:
        ModelError: the template shows the model no tools, or not all.
    """
    for tool in tool_list(tools) or []:
        name = (tool["function"] if isinstance(tool.get("function"), dict) else tool).get("name")
        if not isinstance(name, str):
            raise _unplaced("a tool has no name", 'write {"type": "function", "function": {"name": …}}')
        if name not in text:
            raise _unplaced("the chat template has no place for tools", _OTHER_BASE)


def _objects(text: str, what: str) -> list[dict[str, Any]]:
    value = _parsed(text, what)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _unplaced(f"{what} are no list of objects", "write them as OpenAI's interface takes them")
    return value


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _unplaced(f"{what} are no JSON", "write them as OpenAI's interface takes them") from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield str(key)
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _unplaced(message: str, cure: str) -> ModelError:
    return ModelError(Fault("TW-BASE-027", message, "chat template", cure))
