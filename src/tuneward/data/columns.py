"""Columns: which of a file's columns hold the conversation, named or guessed.

Place on the road: asked once per file by ``data.records``. Knows names, no values.
"""

import difflib
from collections.abc import Collection
from dataclasses import dataclass

from tuneward.data.config import DataConfig
from tuneward.data.faults import Faults

#: Prompt column, further input column or None, answer column; the first whose prompt and answer exist is taken.
KNOWN_PAIRS: tuple[tuple[str, str | None, str], ...] = (
    ("prompt", None, "answer"),
    ("prompt", None, "completion"),
    ("prompt", None, "response"),
    ("instruction", "input", "output"),
    ("question", None, "answer"),
)


@dataclass(frozen=True)
class Columns:
    """Where a row's parts stand: ``messages`` alone, or ``prompt`` (with ``input``) and ``answer``."""

    messages: str | None = None
    prompt: str | None = None
    input: str | None = None
    answer: str | None = None
    subject: str | None = None

    def __str__(self) -> str:
        if self.messages:
            return f"conversations from `{self.messages}`"
        prompt = f"`{self.prompt}`" + (f" with `{self.input}`" if self.input else "")
        return f"prompts from {prompt}, answers from `{self.answer}`"


def choose_columns(config: DataConfig, present: Collection[str], *, name: str, faults: Faults) -> Columns | None:
    """Take the configured columns, or guess; a fault per missing column, or one that names what the file has.

    Args:
        config: the project's ``data`` section.
        present: columns of the file's first row.
        name: the file's name.
        faults: receives what is wrong.
    """
    missing = False
    for setting, column in (
        ("messages", config.messages),
        ("prompt", config.prompt),
        ("answer", config.answer),
        ("subject", config.subject),
    ):
        if column and column not in present:
            missing = True
            close = difflib.get_close_matches(column, present, n=1, cutoff=0.5)
            cure = f"did you mean `{close[0]}`?" if close else f"the file has: {_listed(present)}"
            faults.add("TW-DATA-015", f"there is no column `{column}` (`data.{setting}`)", place=name, cure=cure)
    if missing:
        return None
    if config.messages:
        return Columns(messages=config.messages, subject=config.subject)
    if config.prompt:
        return Columns(prompt=config.prompt, answer=config.answer, subject=config.subject)
    if "messages" in present:
        return Columns(messages="messages", subject=config.subject)
    for prompt, further, answer in KNOWN_PAIRS:
        if prompt in present and answer in present:
            used = further if further in present else None
            return Columns(prompt=prompt, input=used, answer=answer, subject=config.subject)
    faults.add(
        "TW-DATA-015",
        f"no columns for prompt and answer among: {_listed(present)}",
        place=name,
        cure="name them in `data.prompt` and `data.answer`, or `data.messages`",
    )
    return None


def _listed(names: Collection[str]) -> str:
    shown = [str(name)[:40] for name in list(names)[:12]]
    return ", ".join(shown) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
