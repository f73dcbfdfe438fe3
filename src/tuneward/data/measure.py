"""Measure: one record in tokens, as training and evaluation will render it.

Place on the road: asked by ``data.lengths`` and by whoever counts rows before a run. Knows kinds of rows, no limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tuneward.domain.record import Message, Record


class Tokens(Protocol):
    """A rendered row: token ids, and labels that are -100 wherever nothing is learned."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids of the whole conversation."""

    @property
    def labels(self) -> tuple[int, ...]:
        """As many labels as ids."""


class ChatTemplate(Protocol):
    """What is needed of ``modeling.chat.Chat``."""

    def example(self, messages: Sequence[Message], /, *, tools: str | None = None) -> Tokens:
        """Render and tokenise a conversation as training does."""

    def pair(
        self, prompt: Sequence[Message], chosen: Message, rejected: Message, /, *, tools: str | None = None
    ) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Token ids of a prompt and of two answers, each with the token that ends its turn."""

    def document(self, text: str, /) -> Tokens:
        """Tokenise a passage without a template."""

    def prompt_ids(self, messages: Sequence[Message], /, *, tools: str | None = None) -> Sequence[int]:
        """Token ids of a prompt as the engine makes them, up to where the answer begins."""


@dataclass(frozen=True)
class Size:
    """A record in tokens.

    Attributes:
        tokens: all that pass through the model; of a pair the prompt once and both answers.
        longest: what must fit the context: all of it, or of a pair the prompt and the longer answer.
        learned: tokens that are learned.
        shortest: tokens of the shorter answer of a pair, its end included; of others as ``learned``.
        equal: whether both answers of a pair are the same tokens.
    """

    tokens: int
    longest: int
    learned: int
    shortest: int
    equal: bool = False


def measure(chat: ChatTemplate, record: Record) -> Size:
    """Tokenise a record as the method that learns from its kind does.

    Raises:
        ModelError: the template or the tokenizer refuses it.
    """
    if record.rejected is not None:
        prompt, *answers = chat.pair(record.prompt, record.messages[-1], record.rejected, tools=record.tools)
        sizes = [len(answer) for answer in answers]
        return Size(
            tokens=len(prompt) + sum(sizes),
            longest=len(prompt) + max(sizes),
            learned=sum(sizes),
            shortest=min(sizes),
            equal=tuple(answers[0]) == tuple(answers[1]),
        )
    if record.form == "document":
        whole = chat.document(record.answer)
    else:
        whole = chat.example(record.messages, tools=record.tools)
    learned = len(whole.labels) - whole.labels.count(-100)
    if record.desirable is not None and learned:  # the last answer alone is judged
        learned = len(whole.ids) - len(chat.prompt_ids(record.prompt, tools=record.tools))
    return Size(tokens=len(whole.ids), longest=len(whole.ids), learned=learned, shortest=learned)
