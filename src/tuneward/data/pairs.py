"""Pairs: a prompt and two answers to it, of which the first is better.

Place on the road: asked by ``data.records`` where the method learns from preferences. Prompt and answers may be texts
or turns; without a prompt column, ``chosen`` and ``rejected`` are whole conversations and their shared beginning is the
prompt. Knows no ids and no splits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuneward.data.columns import Columns
from tuneward.data.conversations import Conversations, parse_turns
from tuneward.data.lines import Row
from tuneward.domain.record import Message


@dataclass(frozen=True)
class Pair:
    """A prompt and its two answers.

    Attributes:
        chosen: the conversation with the better answer.
        rejected: the worse answer.
        margin: by how much the better one is better, or None.
    """

    chosen: tuple[Message, ...]
    rejected: Message
    margin: float | None


@dataclass(frozen=True)
class Pairs:
    """Reads pairs.

    Attributes:
        conversations: reads turns and values; receives faults.
    """

    conversations: Conversations

    def read(self, row: Row, columns: Columns, prompt: tuple[Message, ...] | None) -> Pair | None:
        """The pair of a row; None and faults where it is none.

        Args:
            row: the row.
            columns: where its parts stand.
            prompt: the prompt of its own column, or None where there is no such column.
        """
        assert columns.chosen
        assert columns.rejected
        margin = self.conversations.cells.margin(row, columns.margin) if columns.margin else None
        chosen = self._conversation(row, columns.chosen, prompt)
        rejected = self._conversation(row, columns.rejected, prompt)
        if chosen is None or rejected is None:
            return None
        shared = next(
            (i for i, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other),
            min(len(chosen), len(rejected)),
        )
        add, place = self.conversations.cells.faults.add, str(row.source)
        if len(chosen) != len(rejected) or shared < len(chosen) - 1 or (prompt and chosen[: len(prompt)] != prompt):
            message = f"`{columns.chosen}` and `{columns.rejected}` answer different prompts"
            if len(chosen) == len(rejected):
                message += f": turn {shared + 1} of {len(chosen)} differs"
            cure = "let both be one answer to the same turns, or delete the row"
            add("TW-DATA-034", message, place=place, cure=cure)
            return None
        better, worse = chosen[-1], rejected[-1]
        if (better.content.strip(), better.tool_calls) == (worse.content.strip(), worse.tool_calls):
            message = f"`{columns.chosen}` and `{columns.rejected}` are equal"
            add("TW-DATA-033", message, place=place, cure="delete the row: nothing can be learned from it")
            return None
        return Pair(chosen=chosen, rejected=worse, margin=margin)

    def _conversation(self, row: Row, column: str, prompt: tuple[Message, ...] | None) -> tuple[Message, ...] | None:
        """The whole conversation that ends in the answer of ``column``."""
        cells, value, place = self.conversations.cells, row.values.get(column), str(row.source)
        turns = None if value is None or (prompt and isinstance(value, str)) else parse_turns(value)
        if turns is None and prompt is not None:
            answer = cells.text(row, column, "answer")
            return None if answer is None else (*prompt, Message("assistant", answer))
        if turns is None and column not in row.values:
            cells.say_missing(column, place)
            return None
        if prompt is not None and turns is not None and _speaks_first(turns[0]):
            turns = [*map(_as_turn, prompt), *turns]
        return replace(self.conversations, within=column).read(turns, column=column, place=place)


def _speaks_first(turn: Any) -> bool:
    return isinstance(turn, Mapping) and turn.get("role") == "assistant"


def _as_turn(message: Message) -> dict[str, Any]:
    calls = {"tool_calls": message.tool_calls} if message.tool_calls else {}
    return {"role": message.role, "content": message.content, **calls}
