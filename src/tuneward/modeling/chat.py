"""Chat: messages to token ids and back, with labels on exactly the tokens that the model has to write.

Place on the road: between data and everything that computes: ``prepare`` counts with it, training takes its labels, the
engine its prompts and its end. Knows tokenizer and template; imports neither torch nor transformers.

What it proves for every example, or else refuses it: the prompt's ids are the first ids of the example, so what is
trained is what will be served; the trained ids decode to the answer; the answer's end is one control token, and it is
trained. A control token written inside a message stays plain text: no message can end its turn or open another. What
the template writes of tools and calls is its own text, so there a control token's text is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from tuneward.digests import digest_file, digest_value
from tuneward.domain.record import Message
from tuneward.errors import Fault, ModelError
from tuneward.modeling.chat_files import load_template, load_tokenizer, read_object, token_text
from tuneward.modeling.template import Answer, Layout, Template
from tuneward.modeling.tools import texts_of

IGNORED = -100  # the label that a loss leaves out (torch.nn.CrossEntropyLoss.ignore_index)
NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
OTHER_TEXT = "clean the text of unusual characters, or take a base whose tokenizer has bytes to fall back on"


@dataclass(frozen=True)
class Example:
    """Ids of one conversation.

    Attributes:
        ids: token ids up to the last answer's end.
        labels: same length; the id itself where the loss counts, else -100. Not shifted.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]


class Chat:
    """Tokenizer and chat template of one base; make it with :meth:`load`.

    Attributes:
        stop_ids: ids at which generation ends.
        control_ids: ids of control tokens.
        pad_id: id that fills rows; never trained for being padding.
        vocabulary: one more than the largest id that the tokenizer gives.
        digest: SHA-256 over tokenizer, template and the ids that end an answer.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: Template, *, eos_ids: Sequence[int], pad_id: int | None, digest: str
    ) -> None:
        self._tokenizer, self._template = tokenizer, template
        added = tokenizer.get_added_tokens_decoder()
        self._specials = {token.content: number for number, token in added.items() if token.special}
        longest_first = sorted(self._specials, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        probe = template.layout([Message("user", "question"), Message("assistant", "answer")])
        self.stop_ids: frozenset[int] = frozenset([self._end_of_turn(probe, probe.answers[0]), *eos_ids])
        self.control_ids: frozenset[int] = frozenset(self._specials.values())
        self._end_of_text: int = eos_ids[-1] if eos_ids else min(self.stop_ids)
        self.pad_id: int = min(self.stop_ids) if pad_id is None else pad_id
        self.vocabulary: int = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.digest: str = digest_value({"files": digest, "stop": sorted(self.stop_ids), "pad": self.pad_id})

    @classmethod
    def load(cls, folder: Path) -> "Chat":
        """Read ``tokenizer.json``, ``tokenizer_config.json``, ``chat_template.jinja`` and ``generation_config.json``.

        Raises:
            ModelError: no tokenizer, no template, or one of them unusable; all that is wrong at once.
        """
        faults: list[Fault] = []
        config = read_object(folder / "tokenizer_config.json", faults)
        generation = read_object(folder / "generation_config.json", faults)
        names = {name: token_text(config[name]) for name in NAMES if config.get(name)}
        tokenizer = load_tokenizer(folder, config, faults)
        template = load_template(folder, config, names, faults)
        if tokenizer is None or template is None or faults:
            raise ModelError(faults)
        named = {name: tokenizer.token_to_id(token) for name, token in names.items()}
        eos = generation.get("eos_token_id") or []
        eos_ids = [eos] if isinstance(eos, int) else list(eos)
        if named.get("eos_token") is not None:
            eos_ids.append(named["eos_token"])
        pad_id = named.get("pad_token", named.get("eos_token"))
        files = {"tokenizer": digest_file(folder / "tokenizer.json"), "template": template.source, "config": config}
        return cls(tokenizer, template, eos_ids=eos_ids, pad_id=pad_id, digest=digest_value(files))

    def prompt_ids(self, messages: Sequence[Message], *, tools: str | None = None) -> list[int]:
        """Ids after which the model writes the next answer.

        Args:
            messages: the conversation so far.
            tools: JSON text of the tools that may be called (OpenAI's list).

        Raises:
            ModelError: the template refuses the messages, or the tokenizer cannot give them back.
        """
        layout = self._layout([*messages, Message("assistant", "x")], tools)
        return self._encode(layout, end=layout.answers[-1].start)[0]

    def example(
        self, messages: Sequence[Message], *, loss_on: Literal["answers", "all"] = "answers", tools: str | None = None
    ) -> Example:
        """Ids and labels of a conversation; what follows the last answer is left out.

        A turn that calls tools is learned as the template writes it, calls included, up to the token that ends it.

        Raises:
            ModelError: no answer, an empty answer, or a proof that fails (see the file's opening).
        """
        turns = [m for m in messages if m.role == "assistant"]
        if not turns or not all(m.content.strip() or m.tool_calls for m in turns):
            raise ModelError(Fault("TW-BASE-026", "an answer is empty, or there is none", "", "drop or fill the row"))
        layout = self._layout(messages, tools)
        ids, starts = self._encode(layout, end=len(layout.text))
        labels, last = [IGNORED] * len(ids), 0
        for turn, answer, start in zip(turns, layout.answers, starts, strict=True):
            end = self._end_of_turn(layout, answer)
            last = ids.index(end, start) + 1
            labels[start:last] = ids[start:last]
            if answer.calls:
                self._prove_calls(layout, answer, ids[start:last])
            else:
                self._prove(turn.content, ids[start : last - 1])
        if layout.answers[-1].calls:  # placed by what stands before it; that this is what is served is proved here
            prompt = self.prompt_ids(messages[: messages.index(turns[-1])], tools=tools)
            self._prove_prompt(prompt, ids[:last])
        return Example(ids=tuple(ids[:last]), labels=tuple(ids[:last] if loss_on == "all" else labels[:last]))

    def pair(
        self, prompt: Sequence[Message], chosen: Message, rejected: Message, *, tools: str | None = None
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Ids of a prompt and of two answers to it, each up to and including the token that ends its turn.

        Law: ``prompt + answer`` are the ids of ``example([*prompt, answer])``, for both answers.

        Raises:
            ModelError: see :meth:`example`; also where an answer changes the ids of its own prompt.
        """
        opening = tuple(self.prompt_ids(prompt, tools=tools))
        answers = []
        for answer in (chosen, rejected):
            ids = self.example([*prompt, answer], tools=tools).ids
            self._prove_prompt(opening, ids)
            answers.append(ids[len(opening) :])
        return opening, answers[0], answers[1]

    def document(self, text: str) -> Example:
        """Ids of a passage without a template, all learned: the start token where the tokenizer sets one, and an end.

        A control token's text inside the passage stays plain text.

        Raises:
            ModelError: the passage is empty, or the tokenizer does not give it back.
        """
        if not text.strip():
            raise ModelError(Fault("TW-BASE-026", "a passage is empty", "", "drop or fill the row"))
        plain: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        self._prove(text, plain)
        ids: list[int] = self._plain.encode(text).ids
        if ids[-1] != self._end_of_text:
            ids = [*ids, self._end_of_text]
        return Example(ids=tuple(ids), labels=tuple(ids))

    def text_ids(self, text: str) -> list[int]:
        """Ids of plain text without a template, with the start token where the tokenizer itself sets one."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def decode(self, ids: Sequence[int], *, control: bool = False) -> str:
        """Text of ``ids``, without control tokens unless ``control``."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=not control)
        return text

    def streamer(self) -> "Streamer":
        """A decoder for one answer that takes its ids one by one."""
        return Streamer(self)

    def _layout(self, messages: Sequence[Message], tools: str | None) -> Layout:
        if any(self._special.search(text) for text in texts_of(messages, tools)):
            message = "a tool or a call to one holds the text of a control token"
            raise ModelError(Fault("TW-BASE-027", message, "", "take the token's text out, or drop the row"))
        return self._template.layout(messages, tools=tools)

    def _end_of_turn(self, layout: Layout, answer: Answer) -> int:
        match = self._end_of_calls(layout, answer) if answer.calls else None
        if not answer.calls:
            match = self._special.match(layout.text[answer.end : answer.tail].lstrip())
        if match is None:
            raise ModelError(
                Fault(
                    "TW-BASE-024",
                    "after an answer the template writes no control token, so a tuned model would never stop",
                    "chat template",
                    "let the template write the tokenizer's end token directly after each answer",
                )
            )
        return self._specials[match.group()]

    def _end_of_calls(self, layout: Layout, answer: Answer) -> re.Match[str] | None:
        """The first control token at which generation ends; those before it belong to the calls."""
        found = self._special.finditer(layout.text, answer.end, answer.tail)
        return next((match for match in found if self._specials[match.group()] in self.stop_ids), None)

    def _encode(self, layout: Layout, *, end: int) -> tuple[list[int], list[int]]:
        """Ids of ``layout.text[:end]``, and the index of the first id of each answer that begins before ``end``."""
        text = layout.text[:end]
        starts = [answer.start for answer in layout.answers if answer.start < end]
        meant = [
            match.span()
            for begin, stop in layout.literals
            for match in self._special.finditer(layout.text, begin, min(stop, end))
        ]
        ids = self._ids(text)
        if meant == [match.span() for match in self._special.finditer(text)]:
            prompts = [self._ids(text[:start]) for start in starts]
            if all(ids[: len(prompt)] == prompt for prompt in prompts):
                return ids, [len(prompt) for prompt in prompts]
        # A message holds the text of a control token, or an answer's first token would reach into its prompt. Each
        # answer is then encoded by itself, as the model writes it: later turns see the ids that earlier turns trained.
        ids, marks = self._encode_pieces(text, meant, starts)
        known = self._encode(layout, end=starts[-1])[0] if starts else []
        if self.decode(ids, control=True) != text or ids[: len(known)] != known:
            raise ModelError(
                Fault("TW-BASE-025", "the tokenizer does not give a message back as it was", "", OTHER_TEXT)
            )
        return ids, marks

    def _encode_pieces(
        self, text: str, meant: Sequence[tuple[int, int]], starts: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        marks: list[int] = []
        cuts = sorted({0, len(text), *starts, *(edge for span in meant for edge in span)})
        for begin, end in pairwise(cuts):
            if begin in starts:
                marks.append(len(ids))
            if (begin, end) in meant:
                ids.append(self._specials[text[begin:end]])
            else:
                ids.extend(self._plain.encode(text[begin:end], add_special_tokens=False).ids)
        return ids, marks

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def _plain(self) -> Tokenizer:
        """The same tokenizer, but it reads control tokens as plain text."""
        tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        tokenizer.encode_special_tokens = True
        return tokenizer

    def _prove_prompt(self, prompt: Sequence[int], ids: Sequence[int]) -> None:
        """The prompt's ids begin the example's."""
        if list(ids[: len(prompt)]) != list(prompt):
            message = "the template or tokenizer writes a prompt otherwise where its answer is known"
            raise ModelError(Fault("TW-BASE-025", message, "", OTHER_TEXT))

    def _prove_calls(self, layout: Layout, answer: Answer, ids: Sequence[int]) -> None:
        """The ids say what the template wrote, but for white space beside control tokens."""
        match = self._end_of_calls(layout, answer)
        assert match is not None
        written, said = layout.text[answer.start : match.end()], self.decode(ids, control=True)
        parts = [[part.strip() for part in self._special.split(text)] for text in (written, said)]
        if parts[0] != parts[1] or self._special.findall(written) != self._special.findall(said):
            raise ModelError(
                Fault("TW-BASE-025", "the tokenizer does not give a call to a tool back as it was", "", OTHER_TEXT)
            )

    def _prove(self, answer: str, ids: Sequence[int]) -> None:
        """The ids say the answer, but for white space around it and the tokenizer's own normal form."""
        decoded = self.decode(ids, control=True).strip()
        if decoded == answer.strip():
            return
        normalizer = self._tokenizer.normalizer
        if normalizer is None or decoded != normalizer.normalize_str(answer).strip():
            raise ModelError(
                Fault("TW-BASE-025", "the tokenizer does not give an answer back as it was", "", OTHER_TEXT)
            )


class Streamer:
    """Turns ids into text as they come; what it gave out never changes.

    Law: the pieces given out, joined, equal ``chat.decode(ids)``. What ends in half a character is held back. (Where a
    model writes broken UTF-8, a tokenizer with byte tokens decodes the whole run as broken; what went out stays out.)
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._window: list[int] = []  # ids from a character's border on
        self._known = 0  # ids of the window whose text is out

    def push(self, token: int) -> str:
        """Text that ``token`` completes; often empty."""
        self._window.append(token)
        text = self._new_text()
        if text.endswith("\ufffd"):
            return ""
        return self._give(text)

    def finish(self) -> str:
        """What is still held back."""
        return self._give(self._new_text())

    def _new_text(self) -> str:
        before = self._chat.decode(self._window[: self._known])
        return self._chat.decode(self._window)[len(before) :]

    def _give(self, text: str) -> str:
        if text:
            self._window = self._window[self._known :]
            self._known = len(self._window)
        return text
