"""Checks of token ids and labels: what is learned is the answers, each with its end, and nothing else.

Place on the road: the part of the self-check that no model computes. Labels are read from packed windows, as the loss
sees them, and compared with the records' own messages through the tokenizer's file alone.
"""

import json
import shutil
from collections.abc import Sequence

import numpy as np
import torch

from tuneward.domain.record import Message, Record
from tuneward.modeling.chat import Chat
from tuneward.modeling.chat_files import read_object, token_text
from tuneward.training.batches import ROUND_TOKENS, Window
from tuneward.training.rows import IGNORED, Row
from tuneward.training.selfcheck.statement import Measured, NotApplicableError, Statement
from tuneward.training.selfcheck.subject import Subject

ON = "tokens"


def one_start(subject: Subject) -> Measured:
    """No row, and no prompt as it is served, begins with the start token twice."""
    text = read_object(subject.base / "tokenizer_config.json", []).get("bos_token")
    start = subject.tokenizer.token_to_id(token_text(text)) if text else None
    if start is None:
        raise NotApplicableError("the tokenizer has no start token")
    rows = [row for form in ("document", "conversation", "pair") for row in subject.rows(form)]
    served = [subject.chat.prompt_ids(r.prompt, tools=r.tools) for r in subject.records("conversation")]
    doubled = [ids for ids in (*(row.ids.tolist() for row in rows), *served) if ids[:2] == [start, start]]
    return Measured(len(doubled), ON, unit="rows", detail=f"the start token stands twice in {len(doubled)} rows")


def ends_learned(subject: Subject) -> Measured:
    """Each answer's last learned token ends generation: in conversations turn by turn, in both answers of pairs."""
    stops, missing, answers = subject.chat.stop_ids, 0, 0
    for row, record in _conversations(subject):
        turns = sum(message.role == "assistant" for message in record.messages)
        learned = _runs(_labels(row))
        answers += turns
        missing += abs(turns - sum(run[-1] in stops for run in learned))
    for row in subject.rows("pair"):
        window = Window.pack([row])
        for number in range(window.answers):
            targets = window.targets[window.owners == number]
            answers += 1
            missing += int(targets[-1]) not in stops
    return Measured(missing, ON, unit="answers", detail=f"{missing} of {answers} answers have no learned end")


def padding_not_learned(subject: Subject) -> Measured:
    """What fills a window up teaches nothing; and which token is named as padding, be it the end, changes no label."""
    rows = list(subject.rows("conversation"))
    bare, filled = Window.pack(rows), Window.pack(rows, round_to=ROUND_TOKENS)
    wrong = bare.ids.numel() - sum(row.size for row in rows)
    wrong += int(not torch.equal(bare.places, filled.places)) + int(not torch.equal(bare.targets, filled.targets))
    own, stops = subject.chat.pad_id, subject.chat.stop_ids
    if own not in stops:
        wrong += int((bare.targets == own).sum())
    for token in sorted({*stops, own}):
        chat = _with_padding(subject, token)
        for row, record in _conversations(subject):
            labels = chat.example(record.messages, tools=record.tools).labels
            wrong += _different(np.asarray(labels), _labels(row))
    return Measured(wrong, ON, unit="tokens", detail="labels depend on which token is named as padding")


def answers_learned(subject: Subject) -> Measured:
    """What is learned of a row, decoded, is its answers and their ends."""
    wrong, names = 0, []
    for row, record in _conversations(subject):
        said = [subject.tokenizer.decode(run[:-1], skip_special_tokens=False).strip() for run in _runs(_labels(row))]
        meant = [m for m in record.messages if m.role == "assistant"]
        if len(said) != len(meant) or not all(map(_says, [subject] * len(said), said, meant)):
            wrong += 1
            names.append(row.id)
    return Measured(wrong, ON, unit="rows", detail=f"other tokens than the answers are learned in {', '.join(names)}")


def prompt_is_served(subject: Subject) -> Measured:
    """The ids before a learned answer are the ids after which the engine lets the model write it."""
    wrong, names = 0, []
    for row, record in _conversations(subject):
        labels = _labels(row)
        last = max(
            (i for i, x in enumerate(labels) if x != IGNORED and (i == 0 or labels[i - 1] == IGNORED)), default=0
        )
        if subject.chat.prompt_ids(record.prompt, tools=record.tools) != row.ids[:last].tolist():
            wrong += 1
            names.append(row.id)
    return Measured(wrong, ON, unit="rows", detail=f"trained and served prompts differ in {', '.join(names)}")


def _conversations(subject: Subject) -> list[tuple[Row, Record]]:
    return list(zip(subject.rows("conversation"), subject.records("conversation"), strict=True))


def _labels(row: Row) -> np.ndarray:
    """Which tokens a window trains, read back from it: (tokens,), -100 where none."""
    window = Window.pack([row])
    labels = np.full(row.ids.size, IGNORED, dtype=np.int64)
    labels[window.places.numpy() + 1] = window.targets.numpy()
    return labels


def _runs(labels: np.ndarray) -> list[list[int]]:
    """Learned tokens that follow one another."""
    runs: list[list[int]] = []
    for place, label in enumerate(labels.tolist()):
        if label == IGNORED:
            continue
        if not place or labels[place - 1] == IGNORED:
            runs.append([])
        runs[-1].append(label)
    return runs


def _says(subject: Subject, said: str, answer: Message) -> bool:
    if answer.tool_calls is not None:  # the template's own words; the chat proves each call when it writes it
        return bool(said)
    normalizer = subject.tokenizer.normalizer
    forms = {answer.content.strip()}
    if normalizer is not None:
        forms.add(normalizer.normalize_str(answer.content).strip())
    return said in forms


def _with_padding(subject: Subject, token: int) -> Chat:
    """The same chat, but for what it calls padding."""
    folder = subject.new_folder()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (subject.base / name).is_file():
            shutil.copyfile(subject.base / name, folder / name)
    config = read_object(folder / "tokenizer_config.json", [])
    config["pad_token"] = subject.tokenizer.id_to_token(token)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return Chat.load(folder)


def _different(one: Sequence[int] | np.ndarray, two: np.ndarray) -> int:
    """Labels that differ; the first token of a row has nothing before it to be predicted from."""
    return int((np.asarray(one)[1:] != two[1:]).sum()) if len(one) == len(two) else len(two)


STATEMENTS: dict[str, Statement] = {
    "one start token": Statement(
        "A row and a served prompt begin with the start token at most once.",
        "the first two ids of every row, in each form, and of the prompts",
        one_start,
    ),
    "ends are learned": Statement(
        "The token that ends an answer is learned, so that the model stops.",
        "the last learned token of every answer, in packed windows, against the ids at which generation ends",
        ends_learned,
    ),
    "padding": Statement(
        "Padding is never learned, and the end token is learned also where it is the padding token.",
        "labels when each end token in turn is named as padding, and of filled-up windows, against those of bare ones",
        padding_not_learned,
    ),
    "answers are learned": Statement(
        "What is learned are the answers, their ends and nothing else.",
        "learned tokens of each row, decoded, against the record's answers",
        answers_learned,
    ),
    "trained is served": Statement(
        "The prompt that an answer is trained behind is the prompt that is served.",
        "ids before the last answer of each row against the engine's prompt",
        prompt_is_served,
    ),
}
