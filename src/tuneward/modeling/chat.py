"""Chat: messages to token ids and back, with labels on exactly the tokens that the model has to write.

Place on the road: between data and everything that computes: ``prepare`` counts with it, training takes its labels, the
engine its prompts and its end. Knows tokenizer and template; imports neither torch nor transformers.

What it proves for every example, or else refuses it: the prompt's ids are the first ids of the example, so what is trained
is what will be served; the trained ids decode to the answer; the answer's end is one control token, and it is trained.
A control token written inside a message stays plain text: no message can end its turn or open another.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer

from tuneward.digests import digest_value
from tuneward.domain.record import Message
from tuneward.errors import Fault, ModelError
from tuneward.modeling.template import Layout, Template

IGNORED = -100  # the label that a loss leaves out (torch.nn.CrossEntropyLoss.ignore_index)
NAMES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
OTHER_BASE = "take a base with a tokenizer that fits its texts, or clean the text"


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
        pad_id: id that fills rows; never trained.
        vocabulary: one more than the largest id that the tokenizer gives.
        digest: SHA-256 over tokenizer and template.
    """

    def __init__(self, tokenizer: Tokenizer, template: Template, *, eos_ids: Sequence[int], pad_id: int | None) -> None:
        self._tokenizer, self._template = tokenizer, template
        self._plain = Tokenizer.from_str(tokenizer.to_str())  # reads control tokens as text
        self._plain.encode_special_tokens = True
        added = tokenizer.get_added_tokens_decoder()
        self._specials = {token.content: number for number, token in added.items() if token.special}
        longest_first = sorted(self._specials, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        end = self._end_of_turn(template.ending)
        self.stop_ids: frozenset[int] = frozenset([end, *eos_ids])
        self.pad_id: int = pad_id if pad_id is not None else min(self.stop_ids)
        self.vocabulary: int = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.digest: str = digest_value({"tokenizer": tokenizer.to_str(), "template": template.source})

    @classmethod
    def load(cls, folder: Path) -> "Chat":
        """Read ``tokenizer.json``, ``tokenizer_config.json`` and ``chat_template.jinja``.

        Raises:
            ModelError: no tokenizer, no template, or one of them unusable; all that is wrong at once.
        """
        faults: list[Fault] = []
        config = _read_json(folder / "tokenizer_config.json")
        names = {name: _token_text(config[name]) for name in NAMES if config.get(name)}
        tokenizer = _load_tokenizer(folder, config, faults)
        template = _load_template(folder, config, names, faults)
        if tokenizer is None or template is None or faults:
            raise ModelError(faults)
        eos = _read_json(folder / "generation_config.json").get("eos_token_id", [])
        eos_ids = [eos] if isinstance(eos, int) else list(eos or [])
        named = {name: tokenizer.token_to_id(token) for name, token in names.items()}
        if named.get("eos_token") is not None:
            eos_ids.append(named["eos_token"])
        pad_id = named.get("pad_token")
        return cls(tokenizer, template, eos_ids=eos_ids, pad_id=pad_id if pad_id is not None else named.get("eos_token"))

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Ids after which the model writes the next answer.

        Raises:
            ModelError: the template refuses the messages, or the tokenizer cannot give them back.
        """
        layout = self._template.layout([*messages, Message("assistant", "x")])
        return self._encode(layout, end=layout.starts[-1])[0]

    def example(self, messages: Sequence[Message], *, loss_on: Literal["answers", "all"] = "answers") -> Example:
        """Ids and labels of a conversation; what follows the last answer is left out.

        Raises:
            ModelError: no answer, an empty answer, or a proof that fails (see the file's opening).
        """
        answers = [m.content for m in messages if m.role == "assistant"]
        if not answers or not all(answer.strip() for answer in answers):
            raise ModelError(Fault("TW-BASE-026", "an answer is empty, or there is none", "", "drop or fill the row"))
        layout = self._template.layout(messages)
        ids, starts = self._encode(layout, end=len(layout.text))
        endings = [piece for piece, (_, end) in self._endings(layout)]
        labels, last = [IGNORED] * len(ids), 0
        for answer, start, ending in zip(answers, starts, endings, strict=True):
            last = ids.index(self._end_of_turn(ending), start) + 1
            labels[start:last] = ids[start:last]
            self._prove(answer, ids[start : last - 1])
        return Example(ids=tuple(ids[:last]), labels=tuple(ids[:last] if loss_on == "all" else labels[:last]))

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

    def _endings(self, layout: Layout) -> list[tuple[str, tuple[int, int]]]:
        """Text that follows each answer up to the next message, and the answer's span."""
        found = []
        for (begin, end), (tail_begin, tail_end) in zip(layout.contents, layout.literals[1:], strict=True):
            if any(begin >= start and not layout.text[start:begin].strip() for start in layout.starts):
                found.append((layout.text[tail_begin:tail_end], (begin, end)))
        return found

    def _end_of_turn(self, ending: str) -> int:
        text = ending.lstrip()
        match = self._special.match(text)
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

    def _encode(self, layout: Layout, *, end: int) -> tuple[list[int], list[int]]:
        """Ids of ``layout.text[:end]``, and the index of the first id of each answer that begins before ``end``."""
        text, starts = layout.text[:end], [start for start in layout.starts if start < end]
        meant = [
            (begin + match.start(), begin + match.end())
            for begin, stop in layout.literals
            for match in self._special.finditer(layout.text, begin, min(stop, end))
        ]
        return [], []

    def _prove(self, answer: str, ids: Sequence[int]) -> None:
        """The trained ids say the answer, but for white space around it that template or tokenizer may take."""
        decoded = self.decode(ids, control=True).strip()
        if decoded == answer.strip():
            return
        normalizer = self._tokenizer.normalizer
        if normalizer is None or decoded != normalizer.normalize_str(answer).strip():
            raise ModelError(Fault("TW-BASE-025", "the tokenizer does not give an answer back as it was", "", OTHER_BASE))
