"""Chat template: renders messages to text, and says exactly where in that text each message stands.

Place on the road: beneath ``chat``. Knows Jinja and messages, no tokens. Templates are foreign code: they run in
Jinja's immutable sandbox, without clock, files or network. ``render`` gives the text that ``apply_chat_template`` of
transformers gives.

How places are found: the template is rendered once per sequence of roles with marks instead of contents (the
*skeleton*). Skeleton with contents filled in must equal the true rendering, character by character; else the template
does something with contents that could put a label on the wrong token, and it is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tuneward.domain.record import Message
from tuneward.errors import Fault, ModelError

#: ``strftime_now`` in a template always says this day, so that the same messages give the same tokens tomorrow. It is
#: the day that Llama 3.2's own template falls back to.
TEMPLATE_DAY = {"%d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%Y": "2024", "%y": "24"}
LEFT_PAD, RIGHT_PAD = " \x0b", "\x0c "
CHANGED = "take a template that prints every message once and unchanged, or give the base its own chat_template.jinja"


@dataclass(frozen=True)
class Answer:
    """Where an assistant message stands in a rendering, in characters.

    Attributes:
        start: where generation begins: its content, or white space before it that the generation prompt leaves out.
        end: one past its content.
        tail: one past what the template itself writes after it, up to the next message's content.
    """

    start: int
    end: int
    tail: int


@dataclass(frozen=True)
class Layout:
    """A rendered conversation and its places.

    Attributes:
        text: the rendering.
        answers: the assistant messages, in order.
        literals: spans that the template itself wrote; only there are control tokens meant as such.
    """

    text: str
    answers: tuple[Answer, ...]
    literals: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Skeleton:
    pieces: tuple[str, ...]  # one more than messages
    trims: tuple[tuple[bool, bool], ...]  # (left, right) per message
    leads: tuple[int, ...]  # per assistant message: characters before its content that the model writes


class Template:
    """A compiled chat template.

    Args:
        source: the Jinja text.
        names: special tokens by name (``bos_token``…), as the tokenizer's configuration has them.

    Raises:
        ModelError: the template does not compile, or does not render a question and its answer.
    """

    def __init__(self, source: str, names: Mapping[str, str]) -> None:
        self.source = source
        self._names = dict(names)
        self._skeletons: dict[tuple[str, ...], _Skeleton] = {}
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, "jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._compiled = environment.from_string(source)
        except TemplateError as error:
            raise _unrenderable(f"does not compile: {error}") from error
        self._skeleton(("user", "assistant"))
        self.folds_system = not self._accepts_system()

    def render(self, messages: Sequence[Message], *, generation: bool = False) -> str:
        """The text of ``messages``, with the opening of an answer if ``generation``.

        ``enable_thinking`` is off where a template asks for it: training rows hold answers, not thoughts.

        Raises:
            ModelError: the template refuses the messages (order of roles, a role it does not know).
        """
        listed = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return self._compiled.render(
                messages=listed,
                tools=None,
                documents=None,
                add_generation_prompt=generation,
                enable_thinking=False,
                **self._names,
            )
        except Exception as error:  # foreign code raises what it likes
            said = str(error) if isinstance(error, TemplateError) else type(error).__name__
            if any(m.content.strip() and m.content.strip() in said for m in messages):
                said = type(error).__name__
            roles = ", ".join(m.role for m in messages)
            raise _unrenderable(f"refuses the roles [{roles}]: {said}") from error

    def layout(self, messages: Sequence[Message]) -> Layout:
        """Rendering and places of a conversation.

        Where the template knows no system role, the system text stands before the first user message, two newlines
        between: as Gemma's own template does it.

        Raises:
            ModelError: the template refuses the messages, or changes, hides or doubles one of them.
        """
        messages = self._fold(messages)
        skeleton = self._skeleton(tuple(m.role for m in messages))
        text = skeleton.pieces[0]
        answers, literals, leads = [], [(0, len(text))], iter(skeleton.leads)
        for message, trim, piece in zip(messages, skeleton.trims, skeleton.pieces[1:], strict=True):
            begin, text = len(text), text + _trim(message.content, trim)
            end, text = len(text), text + piece
            literals.append((end, len(text)))
            if message.role == "assistant":
                answers.append(Answer(start=begin - next(leads), end=end, tail=len(text)))
        if text != self.render(messages):
            raise ModelError(Fault("TW-BASE-023", "the template changes a message's content", "chat template", CHANGED))
        return Layout(text=text, answers=tuple(answers), literals=tuple(literals))

    def _fold(self, messages: Sequence[Message]) -> Sequence[Message]:
        if not self.folds_system or len(messages) < 2 or (messages[0].role, messages[1].role) != ("system", "user"):
            return messages
        return [Message("user", f"{messages[0].content}\n\n{messages[1].content}"), *messages[2:]]

    def _accepts_system(self) -> bool:
        try:
            self._skeleton(("system", "user", "assistant"))
        except ModelError:
            return False
        return True

    def _skeleton(self, roles: tuple[str, ...]) -> _Skeleton:
        if roles not in self._skeletons:
            self._skeletons[roles] = self._make_skeleton(roles)
        return self._skeletons[roles]

    def _make_skeleton(self, roles: tuple[str, ...]) -> _Skeleton:
        marks = [f"Qz{number}vXk" for number in range(len(roles))]
        plain = [Message(role, mark) for role, mark in zip(roles, marks, strict=True)]  # type: ignore[arg-type]
        padded = [Message(m.role, f"{LEFT_PAD}{m.content}{RIGHT_PAD}") for m in plain]
        text = self.render(plain)
        pieces, padded_pieces = _split(text, marks, roles), _split(self.render(padded), marks, roles)
        trims = tuple(
            (not before.endswith(LEFT_PAD), not after.startswith(RIGHT_PAD))
            for before, after in pairwise(padded_pieces)
        )
        leads = []
        for number, role in enumerate(roles):
            if role != "assistant":
                continue
            header = text[: text.index(marks[number])]
            leads.append(len(header) - self._opening(header, plain[:number]))
        return _Skeleton(pieces=tuple(pieces), trims=trims, leads=tuple(leads))

    def _opening(self, header: str, messages: Sequence[Message]) -> int:
        """Where the model begins to write, given all text before the answer's content."""
        try:
            prompt = self.render(messages, generation=True)
        except ModelError:  # an answer without a question before it
            prompt = header
        if header.startswith(prompt) and not header[len(prompt) :].strip():
            return len(prompt)
        return len(header.rstrip(" "))  # the template opens no answer itself: its header belongs to the prompt


def _split(text: str, marks: Sequence[str], roles: Sequence[str]) -> list[str]:
    pieces, at = [], 0
    for mark, role in zip(marks, roles, strict=True):
        found = text.find(mark, at)
        if found < 0 or text.count(mark) != 1:
            message = f"the template hides, doubles or reorders a {role} message"
            raise ModelError(Fault("TW-BASE-023", message, "chat template", CHANGED))
        pieces.append(text[at:found])
        at = found + len(mark)
    return [*pieces, text[at:]]


def _trim(content: str, trim: tuple[bool, bool]) -> str:
    content = content.lstrip() if trim[0] else content
    return content.rstrip() if trim[1] else content


def _unrenderable(message: str) -> ModelError:
    cure = "alternate user and assistant, a system message only first; or mend chat_template.jinja in the base's folder"
    return ModelError(Fault("TW-BASE-022", message, "chat template", cure))


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    for directive, value in TEMPLATE_DAY.items():
        pattern = pattern.replace(directive, value)
    return pattern


def _to_json(value: Any, *, indent: int | None = None, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii, **options)


class _GenerationTag(Extension):
    """``{% generation %}…{% endgeneration %}`` prints its body; the marks themselves are not needed here."""

    tags = {"generation"}  # noqa: RUF012 - the name and type that Jinja's Extension declares

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """See :class:`jinja2.ext.Extension`."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
