"""Chat template: renders messages to text, and says exactly where in that text each message stands.

Place on the road: beneath ``chat``. Knows Jinja and messages, no tokens. Templates are foreign code: they run in
Jinja's immutable sandbox, without clock, files or network. ``render`` gives the text that ``apply_chat_template`` of
transformers gives.

How places are found: the template is rendered once per sequence of roles with marks instead of contents (the
*skeleton*). Skeleton with contents filled in must equal the true rendering, character by character; else the template
does something with contents that could put a label on the wrong token, and it is refused. A turn that only calls tools
has no content to mark: it begins where the rendering of all before it, with the opening of an answer, ends.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tuneward.domain.record import Message
from tuneward.errors import Fault, ModelError
from tuneward.modeling.tools import listed, require_calls, require_tools, tool_list

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
        calls: whether it calls tools; the calls stand between ``end`` and the turn's own end.
    """

    start: int
    end: int
    tail: int
    calls: bool = False


@dataclass(frozen=True)
class Layout:
    """A rendered conversation and its places.

    Attributes:
        text: the rendering.
        answers: the assistant messages, in order.
        literals: spans that the template itself wrote, tools and calls included; only there are control tokens meant
            as such.
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

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: str | None = None,
        generation: bool = False,
        thinking: bool = False,
    ) -> str:
        """The text of ``messages`` under ``tools``, with the opening of an answer if ``generation``.

        ``thinking`` is off where a template asks for it: training rows hold answers, not thoughts.

        Raises:
            ModelError: the template refuses the messages (order of roles, a role it does not know).
        """
        values, given = listed(messages), tool_list(tools)
        try:
            return self._compiled.render(
                messages=values,
                tools=given,
                documents=None,
                add_generation_prompt=generation,
                enable_thinking=thinking,
                **self._names,
            )
        except Exception as error:  # foreign code raises what it likes
            said = str(error) if isinstance(error, TemplateError) else type(error).__name__
            if tools or any(m.tool_calls or (m.content.strip() and m.content.strip() in said) for m in messages):
                said = type(error).__name__
            roles = ", ".join(m.role for m in messages)
            raise _unrenderable(f"refuses the roles [{roles}]: {said}") from error

    def layout(self, messages: Sequence[Message], *, tools: str | None = None) -> Layout:
        """Rendering and places of a conversation under ``tools`` (JSON text of OpenAI's list).

        Where the template knows no system role, the system text stands before the first user message, two newlines
        between: as Gemma's own template does it.

        Raises:
            ModelError: the template refuses the messages, or changes, hides or doubles one of them, or a tool or call.
        """
        messages = self._fold(messages)
        if tools or any(m.tool_calls or m.role == "tool" for m in messages):
            skeleton = self._make_skeleton(messages, tools)
        else:
            skeleton = self._skeleton(tuple(m.role for m in messages))
        text = skeleton.pieces[0]
        answers, literals, leads = [], [(0, len(text))], iter(skeleton.leads)
        for message, trim, piece in zip(messages, skeleton.trims, skeleton.pieces[1:], strict=True):
            begin, text = len(text), text + _trim(message.content, trim)
            end, text = len(text), text + piece
            literals.append((end, len(text)))
            if message.role == "assistant":
                start = begin - next(leads)
                answers.append(Answer(start=start, end=end, tail=len(text), calls=message.tool_calls is not None))
                require_calls(message, text[start:])
        if text != self.render(messages, tools=tools):
            raise ModelError(Fault("TW-BASE-023", "the template changes a message's content", "chat template", CHANGED))
        require_tools(tools, text)
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
            self._skeletons[roles] = self._make_skeleton([Message(role, "x") for role in roles])  # type: ignore[arg-type]
        return self._skeletons[roles]

    def _make_skeleton(self, messages: Sequence[Message], tools: str | None = None) -> _Skeleton:
        marks = [
            "" if not m.content and (m.tool_calls or m.role == "tool") else f"Qz{number}vXk"
            for number, m in enumerate(messages)
        ]
        plain = [replace(m, content=mark) for m, mark in zip(messages, marks, strict=True)]
        padded = [replace(m, content=f"{LEFT_PAD}{m.content}{RIGHT_PAD}" if m.content else "") for m in plain]
        text = self.render(plain, tools=tools)
        spans = self._spans(text, plain, tools)
        pieces = [text[end:start] for (_, end), (start, _) in pairwise([(0, 0), *spans, (len(text), len(text))])]
        shown = [m for m in plain if m.content]
        borders = pairwise(_between(self.render(padded, tools=tools), shown))
        trims = []
        for message in plain:
            before, after = next(borders) if message.content else (LEFT_PAD, RIGHT_PAD)
            trims.append((not before.endswith(LEFT_PAD), not after.startswith(RIGHT_PAD)))
        leads = []
        for number, (start, _) in enumerate(spans):
            if plain[number].role != "assistant":
                continue
            opening = self._opening(text[:start], plain[:number], tools) if plain[number].content else start
            leads.append(start - opening)
        return _Skeleton(pieces=tuple(pieces), trims=tuple(trims), leads=tuple(leads))

    def _spans(self, text: str, plain: Sequence[Message], tools: str | None) -> list[tuple[int, int]]:
        """Where each message's mark stands.

        A turn of calls alone stands empty at its opening; an empty result stands just before the next mark.
        """
        _ends(text, [m for m in plain if m.content])  # every mark is there, once
        spans: list[tuple[int, int]] = []
        for number, message in enumerate(plain):
            mark = next((m.content for m in plain[number:] if m.content), None)
            start = len(text) if mark is None else text.index(mark)
            if not message.content and message.role == "assistant":
                opening = self._opening_of_calls(text, plain[:number], tools)
                if not (spans[-1][1] if spans else 0) <= opening <= start:
                    raise _unplaceable()
                start = opening
            spans.append((start, start + len(message.content)))
        return spans

    def _opening(self, header: str, messages: Sequence[Message], tools: str | None) -> int:
        """Where the model begins to write, given all text before the answer's content."""
        try:
            prompt = self.render(messages, tools=tools, generation=True)
        except ModelError:  # an answer without a question before it
            prompt = header
        if header.startswith(prompt) and not header[len(prompt) :].strip():
            return len(prompt)
        return len(header.rstrip(" "))  # the template opens no answer itself: its header belongs to the prompt

    def _opening_of_calls(self, text: str, messages: Sequence[Message], tools: str | None) -> int:
        """Where a turn without content begins: proved by rendering all before it.

        Tried in turn: the opening of an answer; the one of an answer with thoughts, which is how history shows a turn
        where a template puts an empty thought before the last answer only; the header of an answer in words.
        """
        bare = self.render(messages, tools=tools)
        for thinking in (False, True):
            prompt = self.render(messages, tools=tools, generation=True, thinking=thinking)
            if prompt != bare and text.startswith(prompt):
                return len(prompt)
        mark = f"Qz{len(messages)}vXk"
        header = self.render([*messages, Message("assistant", mark)], tools=tools).partition(mark)[0].rstrip(" ")
        if not text.startswith(header):
            raise _unplaceable()
        return len(header)


def _ends(text: str, messages: Sequence[Message]) -> list[int]:
    """One past each message's mark, in order; every mark stands in ``text`` once."""
    ends, at = [], 0
    for message in messages:
        found = text.find(message.content, at)
        if found < 0 or text.count(message.content) != 1:
            problem = f"the template hides, doubles or reorders a {message.role} message"
            raise ModelError(Fault("TW-BASE-023", problem, "chat template", CHANGED))
        at = found + len(message.content)
        ends.append(at)
    return ends


def _between(text: str, messages: Sequence[Message]) -> list[str]:
    """The text before, between and after the marks."""
    ends = _ends(text, messages)
    starts = [end - len(message.content) for end, message in zip(ends, messages, strict=True)]
    return [text[begin:stop] for begin, stop in zip([0, *ends], [*starts, len(text)], strict=True)]


def _trim(content: str, trim: tuple[bool, bool]) -> str:
    content = content.lstrip() if trim[0] else content
    return content.rstrip() if trim[1] else content


def _unrenderable(message: str) -> ModelError:
    cure = "alternate user and assistant, a system message only first; or mend chat_template.jinja in the base's folder"
    return ModelError(Fault("TW-BASE-022", message, "chat template", cure))


def _unplaceable() -> ModelError:
    message = "the template shows a call to a tool otherwise in history than when it is made, or hides it"
    return ModelError(Fault("TW-BASE-023", message, "chat template", CHANGED))


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
