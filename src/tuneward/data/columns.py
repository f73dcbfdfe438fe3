"""Columns: which of a file's columns hold what the method learns from, named or guessed.

Place on the road: asked once per file by ``data.records``. Knows names, no values.
"""

import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from tuneward.data.config import DataConfig
from tuneward.data.faults import Faults
from tuneward.domain.record import Form

#: Prompt column, further input column or None, answer column; the first whose prompt and answer exist is taken.
KNOWN_PAIRS: tuple[tuple[str, str | None, str], ...] = (
    ("prompt", None, "answer"),
    ("prompt", None, "completion"),
    ("prompt", None, "response"),
    ("instruction", "input", "output"),
    ("instruction", "input", "response"),
    ("question", None, "answer"),
    ("question", None, "response"),
    ("query", None, "response"),
    ("input", None, "output"),
)
#: Columns that hold whole conversations: OpenAI's name, then ShareGPT's.
KNOWN_CONVERSATIONS: tuple[str, ...] = ("messages", "conversations")
#: Prompt columns of pairs, with a further input column or None; where none exists, answers are whole conversations.
KNOWN_PROMPTS: tuple[tuple[str, str | None], ...] = (("prompt", None), ("instruction", "input"), ("question", None))

#: Form of rows → what a row of it is, and the methods that learn from it.
FORMS: dict[Form, tuple[str, str]] = {
    "conversation": ("prompts with an answer, or conversations", "sft"),
    "pair": ("pairs of answers (`chosen`, `rejected`)", "dpo or reward"),
    "judged": ("answers with a `label`", "dpo with the loss kto"),
    "document": ("documents (`text`)", "pretrain"),
}


@dataclass(frozen=True)
class Columns:
    """Where a row's parts stand; ``form`` says which of them there are."""

    form: Form = "conversation"
    messages: str | None = None
    prompt: str | None = None
    input: str | None = None
    answer: str | None = None
    subject: str | None = None
    tools: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    margin: str | None = None
    label: str | None = None
    text: str | None = None

    def __str__(self) -> str:
        if self.form == "document":
            return f"documents from `{self.text}`"
        prompt = f"`{self.prompt}`" + (f" with `{self.input}`" if self.input else "")
        if self.form == "pair":
            start = f"prompts from {prompt}, pairs" if self.prompt else "pairs of conversations"
            said = f"{start} from `{self.chosen}` (better) and `{self.rejected}`"
        elif self.messages:
            said = f"conversations from `{self.messages}`"
        else:
            said = f"prompts from {prompt}, answers from `{self.answer}`"
        further = (("tools", self.tools), ("margins", self.margin), ("labels", self.label))
        return said + "".join(f", {what} from `{column}`" for what, column in further if column)


def choose_columns(
    config: DataConfig, present: Collection[str], *, name: str, faults: Faults, forms: tuple[Form, ...]
) -> Columns | None:
    """Take the configured columns, or guess; a fault per missing column, or one that names what the file has.

    Args:
        config: the project's ``data`` section.
        present: columns of the file's first row.
        name: the file's name.
        faults: receives what is wrong.
        forms: what rows may be, the method's own form first; the first whose columns are there is taken.
    """
    if _missing(config, present, name, faults, forms):
        return None
    for form in forms:
        if columns := _GUESSES[form](config, present):
            return columns
    other = next((form for form, guess in _GUESSES.items() if form not in forms and guess(config, present)), None)
    if other and not (config.prompt or config.messages):
        what, methods = FORMS[other]
        faults.add(
            "TW-DATA-032",
            f"holds {what}, and the method learns from {FORMS[forms[0]][0]}",
            place=name,
            cure=f"set `training.method` to {methods}, or name the columns in the `data` section",
        )
        return None
    wanted, cure = _WANTED[forms[0]]
    faults.add("TW-DATA-015", f"no columns for {wanted} among: {_listed(present)}", place=name, cure=cure)
    return None


#: Form → columns that a file may have without its first row having them.
_OPTIONAL: dict[Form, tuple[str, ...]] = {
    "conversation": ("tools",),
    "pair": ("tools", "margin"),
    "judged": ("tools",),
    "document": (),
}


def with_optional(columns: Columns, config: DataConfig, present: Collection[str]) -> Columns:
    """The columns, with those that this row is the first to have; named ones stand in the first row."""
    late = {
        name
        for name in _OPTIONAL[columns.form]
        if name in present and getattr(columns, name) is None and getattr(config, name) is None
    }
    if columns.prompt and columns.input is None and config.prompt is None:
        further = dict(KNOWN_PROMPTS).get(columns.prompt)
        columns = replace(columns, input=further) if further in present else columns
    if not late:
        return columns
    tools = "tools" if "tools" in late else columns.tools
    return replace(columns, tools=tools, margin="margin" if "margin" in late else columns.margin)


#: Form → what is missing where nothing fits, and how it is named.
_WANTED: dict[Form, tuple[str, str]] = {
    "conversation": ("prompt and answer", "name them in `data.prompt` and `data.answer`, or `data.messages`"),
    "pair": ("two answers", "name them in `data.chosen` and `data.rejected`"),
    "judged": ("prompt, answer and label", "name them in `data.prompt`, `data.answer` and `data.label`"),
    "document": ("text", "name it in `data.text`"),
}


def _missing(config: DataConfig, present: Collection[str], name: str, faults: Faults, forms: tuple[Form, ...]) -> bool:
    missing = False
    asked = {"subject": config.subject} | {setting: getattr(config, setting) for setting in _SETTINGS[forms[0]]}
    if len(forms) > 1 and _GUESSES["conversation"](config, present):
        asked = {"subject": config.subject}  # a test file may hold plain questions and answers
    if _is_document(present):
        asked = {}
    for setting, column in asked.items():
        if column and column not in present:
            missing = True
            close = difflib.get_close_matches(column, present, n=1, cutoff=0.5)
            cure = f"did you mean `{close[0]}`?" if close else f"the file has: {_listed(present)}"
            faults.add("TW-DATA-015", f"there is no column `{column}` (`data.{setting}`)", place=name, cure=cure)
    return missing


#: Form → the settings that name its columns.
_SETTINGS: dict[Form, tuple[str, ...]] = {
    "conversation": ("messages", "prompt", "input", "answer", "tools"),
    "pair": ("prompt", "input", "chosen", "rejected", "margin", "tools"),
    "judged": ("messages", "prompt", "input", "answer", "label", "tools"),
    "document": ("text",),
}


def _guess_conversation(config: DataConfig, present: Collection[str]) -> Columns | None:
    subject, tools = config.subject, _guess(config.tools, "tools", present)
    if config.messages:
        return Columns(messages=config.messages, subject=subject, tools=tools)
    if config.prompt and config.answer:
        return Columns(prompt=config.prompt, input=config.input, answer=config.answer, subject=subject, tools=tools)
    for messages in KNOWN_CONVERSATIONS:
        if messages in present:
            return Columns(messages=messages, subject=subject, tools=tools)
    for prompt, further, answer in KNOWN_PAIRS:
        if prompt in present and answer in present:
            used = further if further in present else None
            return Columns(prompt=prompt, input=used, answer=answer, subject=subject, tools=tools)
    return None


def _guess_judged(config: DataConfig, present: Collection[str]) -> Columns | None:
    columns, label = _guess_conversation(config, present), _guess(config.label, "label", present)
    if columns is None or label is None:
        return None
    return Columns(
        **{name: getattr(columns, name) for name in ("messages", "prompt", "input", "answer", "subject", "tools")},
        form="judged",
        label=label,
    )


def _guess_pair(config: DataConfig, present: Collection[str]) -> Columns | None:
    chosen = _guess(config.chosen, "chosen", present)
    rejected = _guess(config.rejected, "rejected", present)
    if chosen is None or rejected is None:
        return None
    prompts = ((config.prompt, config.input),) if config.prompt else KNOWN_PROMPTS
    prompt, further = next(((p, i) for p, i in prompts if p in present), (None, None))
    return Columns(
        form="pair",
        prompt=prompt,
        input=further if further in present else None,
        chosen=chosen,
        rejected=rejected,
        margin=_guess(config.margin, "margin", present),
        tools=_guess(config.tools, "tools", present),
        subject=config.subject,
    )


def _guess_document(config: DataConfig, present: Collection[str]) -> Columns | None:
    text = "text" if _is_document(present) else _guess(config.text, "text", present)
    return Columns(form="document", text=text, subject=config.subject) if text else None


_GUESSES: dict[Form, Callable[[DataConfig, Collection[str]], Columns | None]] = {
    "conversation": _guess_conversation,
    "pair": _guess_pair,
    "judged": _guess_judged,
    "document": _guess_document,
}


def _is_document(present: Collection[str]) -> bool:
    """Whether a file has what readers of documents make, and so no columns that settings could name."""
    return tuple(present) == ("text",)


def _guess(named: str | None, usual: str, present: Collection[str]) -> str | None:
    column = named or usual
    return column if column in present else None


def _listed(names: Collection[str]) -> str:
    shown = [str(name)[:40] for name in list(names)[:12]]
    return ", ".join(shown) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
