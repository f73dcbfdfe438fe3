"""Conversations: lists of turns and transcripts as checked messages, calls to tools included.

Place on the road: asked by ``data.records``. Takes OpenAI's form of messages (``role``, ``content`` and, where tools
are called, ``tool_calls`` and ``tool_call_id``), ShareGPT's (``data.sharegpt``), and transcripts of ``Human:`` and
``Assistant:``, as hh-rlhf has them. Knows neither columns nor kinds of rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from tuneward.data.parsing import parse_json
from tuneward.data.reading import Cells, compact_json, json_type
from tuneward.data.sharegpt import as_openai
from tuneward.domain.record import Message, Role

_ROLES: Final = ("assistant", "system", "tool", "user")
_SPEAKER: Final = re.compile(r"\n\n(Human|Assistant):")
_TURNS: Final = 'write [{"role": "user", "content": …}, {"role": "assistant", "content": …}]'
_CALLS: Final = 'write [{"type": "function", "function": {"name": …, "arguments": …}}]'


@dataclass(frozen=True)
class Turn:
    """A message and the ids by which OpenAI's form joins a call and its result."""

    message: Message
    call_ids: tuple[str | None, ...] = ()
    answers: str | None = None


@dataclass(frozen=True)
class Conversations:
    """Reads conversations.

    Attributes:
        cells: reads single values; receives faults.
        within: the column that faults name, where a row holds more than one conversation.
    """

    cells: Cells
    within: str = ""

    def read(self, value: Any, *, column: str, place: str, answered: bool = True) -> tuple[Message, ...] | None:
        """Messages of a list of turns, of its JSON text, or of a transcript; None and faults where they are unsound.

        Args:
            value: the row's value.
            column: its column, for faults.
            place: file and line, for faults.
            answered: whether the last turn must be the assistant's; else it must not be.
        """
        turns = parse_turns(value)
        if turns is None:
            self._fault("TW-DATA-016", f"`{column}` is no list of turns", place, _TURNS)
            return None
        read = [self._turn(turn, number, place, last=number == len(turns)) for number, turn in enumerate(turns, 1)]
        if any(turn is None for turn in read):
            return None
        checked = cast(list[Turn], read)
        if not self._in_order([turn.message for turn in checked], place, answered=answered):
            return None
        return self._results_in_order(checked, place)

    def tools(self, value: Any, *, column: str, place: str) -> str | None:
        """Tools as JSON text in OpenAI's form; None where there are none, None and a fault where they are no list."""
        if isinstance(value, str):
            value = (_parsed(value) or "none") if value.strip() not in ("", "[]", "null") else None
        if value in (None, []):
            return None
        if isinstance(value, list):
            listed = [_as_tool(tool) for tool in value]
            if all(listed):
                text = self.cells.as_json(listed, place, column)
                return None if text is None else self.cells.encodable(text)
        cure = 'write [{"type": "function", "function": {"name": …, "description": …, "parameters": …}}]'
        self._fault("TW-DATA-038", f"`{column}` is no list of tools with a name each", place, cure)
        return None

    def _turn(self, turn: Any, number: int, place: str, *, last: bool) -> Turn | None:
        called = isinstance(turn, Mapping) and bool(turn.get("tool_calls"))
        if not isinstance(turn, Mapping) or "role" not in turn or ("content" not in turn and not called):
            message = f"turn {number} has no `role` and `content`"
            self._fault("TW-DATA-016", message, place, "write both as text in every turn")
            return None
        role, content = turn["role"], turn.get("content")
        if role not in _ROLES if isinstance(role, str) else True:
            message = f"turn {number} has a role other than {', '.join(_ROLES)}"
            self._fault("TW-DATA-017", message, place, "rename the role, or delete the turn")
            return None
        calls, call_ids = self._calls(turn, number, place) if called else (None, ())
        if called and calls is None:
            return None
        content = _joined(content, role)
        if isinstance(content, dict | list) and role in ("assistant", "tool"):
            content = self.cells.as_json(content, place, "content")
        if content is None or (isinstance(content, str) and not content.strip()):
            if calls is None and role != "tool":
                code = "TW-DATA-018" if role == "assistant" else "TW-DATA-019"
                which = "the last answer" if last and role == "assistant" else f"turn {number}"
                self._fault(code, f"{which} is empty", place, "write it, or delete the row")
                return None
            content = ""
        if not isinstance(content, str):
            message = f"`content` of turn {number} is a {json_type(content)}, not text"
            self._fault("TW-DATA-016", message, place, "write it as text")
            return None
        answers = turn.get("tool_call_id") if role == "tool" else None
        message_ = Message(cast(Role, role), self.cells.encodable(content), calls)
        return Turn(message_, call_ids, answers if isinstance(answers, str) and answers else None)

    def _calls(self, turn: Mapping[str, Any], number: int, place: str) -> tuple[str | None, tuple[str | None, ...]]:
        """JSON text of a turn's calls, arguments as text in it, and the calls' ids."""
        calls = turn["tool_calls"]
        calls = _parsed(calls) if isinstance(calls, str) else calls
        if turn["role"] != "assistant" or not isinstance(calls, list):
            message = f"`tool_calls` of turn {number} is no list of calls of an assistant"
            self._fault("TW-DATA-038", message, place, _CALLS)
            return None, ()
        made = [_as_call(call) for call in calls]
        if not all(made):
            message = f"a call of turn {number} has no name, or arguments that are no JSON object"
            self._fault("TW-DATA-038", message, place, _CALLS)
            return None, ()
        known = cast(list[dict[str, Any]], made)
        return self.cells.encodable(compact_json(known)), tuple(call.get("id") for call in known)

    def _in_order(self, messages: Sequence[Message], place: str, *, answered: bool) -> bool:
        skipped = 1 if messages[0].role == "system" else 0
        due, results = ("user",), 0
        for number, message in enumerate(messages[skipped:], start=skipped + 1):
            if message.role not in due:
                wanted = " or ".join(f"`{role}`" for role in due)
                cure = "user and assistant speak in turns, user first; every call of a tool is followed by its result"
                self._fault("TW-DATA-017", f"turn {number} is `{message.role}` where {wanted} is due", place, cure)
                return False
            if message.role == "assistant":
                results = len(_parsed(message.tool_calls)) if message.tool_calls else 0
                due = ("tool",) if results else ("user",)
            elif message.role == "tool":
                results -= 1
                due = ("tool",) if results else ("assistant",)
            else:
                due = ("assistant",)
        if len(messages) == skipped or (answered and messages[-1].role != "assistant"):
            cure = "end with an assistant turn: it is what is learned"
            self._fault("TW-DATA-017", "the conversation does not end with an answer", place, cure)
            return False
        if not answered and due != ("assistant",):
            cure = "end the prompt with the turn that is to be answered"
            self._fault("TW-DATA-017", "the prompt ends with an answer, or misses a tool's result", place, cure)
            return False
        return True

    def _results_in_order(self, turns: Sequence[Turn], place: str) -> tuple[Message, ...] | None:
        """Results in the order of their calls, which OpenAI's form leaves open."""
        messages: list[Message] = []
        position = 0
        while position < len(turns):
            turn = turns[position]
            messages.append(turn.message)
            position += 1
            results = turns[position : position + len(turn.call_ids)]
            named = [result.answers for result in results]
            if results and all(named) and all(turn.call_ids):
                if sorted(map(str, named)) != sorted(map(str, turn.call_ids)):
                    cure = "give every call an id of its own, and its result the same one as `tool_call_id`"
                    self._fault("TW-DATA-038", "a result names a call that was not made", place, cure)
                    return None
                by_id = {result.answers: result.message for result in results}
                messages += [by_id[name] for name in turn.call_ids]
                position += len(results)
        return tuple(messages)

    def _fault(self, code: str, message: str, place: str, cure: str) -> None:
        named = f"{message} (`{self.within}`)" if self.within else message
        self.cells.faults.add(code, named, place=place, cure=cure)


def parse_turns(value: Any) -> list[Any] | None:
    """A non-empty list of turns, from a list, one turn, JSON text or a transcript; None where it is none of them."""
    if isinstance(value, str):
        value = _transcript(value) or _parsed(value)
    if isinstance(value, Mapping):
        value = [value]
    return [as_openai(turn) for turn in value] if isinstance(value, list) and value else None


def _transcript(text: str) -> list[dict[str, str]] | None:
    """Turns of a transcript (Bai et al. 2022, arXiv:2204.05862), a blank line before each; None for any other text."""
    parts = _SPEAKER.split("\n\n" + text.lstrip("\n"))
    if parts[0].strip() or len(parts) < 3:
        return None
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[speaker], "content": said.removeprefix(" ")}
        for speaker, said in zip(parts[1::2], parts[2::2], strict=True)
    ]


def _joined(content: Any, role: str) -> Any:
    """OpenAI's text parts as one text; an assistant's list is its answer as JSON."""
    parts = content if isinstance(content, list) and role != "assistant" else []
    if parts and all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        texts = [part.get("text") for part in parts]
        return "".join(texts) if all(isinstance(text, str) for text in texts) else content
    return content


def _as_call(call: Any) -> dict[str, Any] | None:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"].strip():
        return None
    arguments = function.get("arguments")
    arguments = _parsed(arguments) if isinstance(arguments, str) and arguments.strip() else arguments or {}
    if not isinstance(arguments, Mapping):
        return None
    try:
        written = compact_json(arguments)
    except (TypeError, ValueError, RecursionError):
        return None
    made = {"type": "function", "function": {"name": function["name"], "arguments": written}}
    identifier = call.get("id")
    return {"id": identifier, **made} if isinstance(identifier, str) and identifier else made


def _as_tool(tool: Any) -> dict[str, Any] | None:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"].strip():
        return None
    return dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)}


def _parsed(text: Any) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return None
