"""Conversations: the rows that training benchmarks run over, tokenised once for all contenders.

hh-rlhf where ``TUNEWARD_TEST_DATA`` names a folder that has it (pairs of answers, judged by people; MIT); else a
stand-in of random words whose lengths are drawn as there (about 185 tokens a row, long tails), and that is said.
"""

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tuneward.domain.record import Form, Message, Record, Source
from tuneward.modeling.chat import Chat
from tuneward.settings import Settings
from tuneward.training.rows import Rows
from tuneward.training.tokenising import read_rows

WORDS = ("answer", "better", "half", "like", "model", "of", "one", "people", "reads", "row", "than", "the", "writes")
CONTEXT_TOKENS = 2048


def read_conversations(base: Path, into: Path, *, count: int, form: Form) -> Rows:
    """The first ``count`` conversations in an order that is always the same, tokenised with the base's own template.

    Args:
        base: folder of the base model.
        into: folder that may be filled.
        count: rows wanted.
        form: ``conversation`` (every assistant turn is learned) or ``pair``.
    """
    path = write_conversations(into / f"{form}-{count}.jsonl", count=count)
    chat = Chat.load(base)
    return read_rows(
        path, chat, cache=into / "tokens", context_tokens=CONTEXT_TOKENS, vocabulary=chat.vocabulary, form=form
    )


def write_conversations(path: Path, *, count: int) -> Path:
    """Write the first ``count`` conversations as prepared rows, each with a worse answer beside its last."""
    records = [*_pairs()] or [*_stand_ins(2000)]
    random.Random(0).shuffle(records)
    if count > len(records):
        raise SystemExit(f"{count} rows asked for, there are {len(records)}")
    path.write_text("".join(json.dumps(record.to_json()) + "\n" for record in records[:count]), encoding="utf-8")
    return path


def source() -> str:
    """Which rows :func:`read_conversations` gives, in words."""
    return "hh-rlhf" if _file() else "random words with the lengths of hh-rlhf (TUNEWARD_TEST_DATA names no hh-rlhf)"


def _file() -> Path | None:
    folder = Settings.from_environment().test_data
    path = None if folder is None else folder / "hh-rlhf" / "pairs.jsonl"
    return path if path is not None and path.is_file() else None


def _pairs() -> Iterator[Record]:
    path = _file()
    if path is None:
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        value = json.loads(line)
        chosen, rejected = _turns(value["chosen"]), _turns(value["rejected"])
        same_prompt, equal = chosen[:-1] == rejected[:-1], chosen[-1] == rejected[-1]
        if same_prompt and not equal and all(turn.content for turn in [*chosen, *rejected]):
            yield _record(number, chosen, rejected[-1])


def _turns(text: str) -> list[Message]:
    parts = re.split(r"\n\n(Human|Assistant): ?", text)
    return [
        Message("user" if speaker == "Human" else "assistant", said.strip())
        for speaker, said in zip(parts[1::2], parts[2::2], strict=True)
    ]


def _stand_ins(count: int) -> Iterator[Record]:
    draw = random.Random(1)

    def say(mean: float) -> str:
        return " ".join(draw.choices(WORDS, k=max(2, min(250, round(draw.lognormvariate(0, 0.9) * mean)))))

    for number in range(count):
        turns = []
        for _ in range(draw.choice((1, 1, 2, 2, 3, 3, 4))):
            turns += [Message("user", say(14)), Message("assistant", say(26))]
        yield _record(number, turns, Message("assistant", say(26) + " no"))


def _record(number: int, turns: Sequence[Message], rejected: Message) -> Record:
    return Record(f"r{number}", tuple(turns), Source("pairs.jsonl", "", number), None, "train", rejected=rejected)
