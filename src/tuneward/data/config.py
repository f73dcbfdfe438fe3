"""Settings of the data: which files, which columns, on what legal ground.

Place on the road: the ``data`` section of ``tuneward.yaml``; read by ``prepare``. Knows no file's content.
"""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tuneward.configuration import Section
from tuneward.data.quality_config import QualityConfig
from tuneward.data.split_config import SplitConfig
from tuneward.data.terms_config import LegalBasis, SourceConfig, SummaryConfig, TermsConfig
from tuneward.licences import OwnLicence

TooLong = Literal["refuse", "drop", "split"]
MailHeader = Literal["subject", "from", "to", "date"]


class DataConfig(Section):
    """What is prepared, and what is known about it."""

    train: tuple[str, ...] = Field(min_length=1)
    """Files that train, relative to the project's folder or absolute; ``*``, ``?`` and ``**`` are patterns, and a
    folder stands for all files in it and below. Of a folder with splits that Hugging Face's ``datasets`` has saved, the
    split ``train`` is taken; others are named by their own folder."""

    test: tuple[str, ...] = ()
    """Files held out for evaluation, written like ``train``; of a folder with splits, the split ``test`` is taken."""

    messages: str | None = None
    """Column that holds whole conversations: a list of ``role`` and ``content``, or of ``from`` and ``value`` as
    ShareGPT has them; guessed when absent."""

    prompt: str | None = None
    """Column that holds the prompt; guessed when absent."""

    input: str | None = None
    """Column that holds what the prompt is about (Alpaca's ``input``) and follows it after a blank line; guessed where
    ``prompt`` is, and never needed."""

    answer: str | None = None
    """Column that holds the answer; guessed when absent."""

    chosen: str | None = None
    """Column that holds the better answer of a pair, or the conversation that ends in it; guessed when absent."""

    rejected: str | None = None
    """Column that holds the worse answer of a pair, or the conversation that ends in it; guessed when absent."""

    margin: str | None = None
    """Column that says by how much the better answer is better; guessed when absent, and never needed."""

    label: str | None = None
    """Column that says whether an answer is to be learned (true) or unlearned (false); guessed when absent."""

    tools: str | None = None
    """Column that lists the tools that may be called (OpenAI's form); guessed when absent, and never needed."""

    text: str | None = None
    """Column that holds the text of documents; guessed when absent."""

    system: str | None = None
    """System message put before every conversation that has none of its own."""

    subject: str | None = None
    """Column that names the data subject; kept only as a keyed pseudonym."""

    legal_basis: LegalBasis | None = None
    """Ground on which personal data are processed (GDPR Art. 6(1)), or ``no_personal_data``."""

    licence: str | None = None
    """Licence of the data, as an SPDX expression where there is one."""

    terms: TermsConfig = TermsConfig()
    """Under which terms the rows of all files may be used; ``legal_basis`` and ``licence`` above are short for two of
    them."""

    sources: tuple[SourceConfig, ...] = ()
    """Terms of some of the files; of several entries that name a file, the last one that says a thing counts."""

    licences: dict[str, OwnLicence] = Field(default_factory=dict)
    """Licences of the site's own, such as a contract: name → what it allows and asks for."""

    summary: SummaryConfig = SummaryConfig()
    """What only the provider can say in the public summary of training content."""

    too_long: TooLong = "refuse"
    """What happens to rows longer than the context: ``refuse`` all, ``drop`` the row, ``split`` conversations (pairs
    and judged answers are dropped then). Documents are always cut into passages, at paragraphs where that is enough."""

    context_tokens: int | None = Field(default=None, ge=16)
    """Longest row in tokens; the base's own context when absent."""

    mail_headers: tuple[MailHeader, ...] = ()
    """Headers of mails (``.eml``, ``.mbox``) that are read with their text, a line each above it: any of ``subject``,
    ``from``, ``to`` and ``date``. None when absent: most of them name people."""

    unpacked_mib: int = Field(default=16_384, ge=1)
    """Most that one packed file (``.gz``, ``.zst``) or Parquet file may unpack to, in MiB."""

    unpacked_ratio: int = Field(default=200, ge=2)
    """Most that such a file may unpack to as a multiple of its size, from 64 MiB on."""
    quality: QualityConfig = QualityConfig()
    """How rows are judged, and which of them leave."""

    split: SplitConfig = SplitConfig()
    """Which of the training rows are held out, and how the others lie in shards."""

    @field_validator("train", "test", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("train", "test")
    @classmethod
    def _names_are_given(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not name.strip() or "\0" in name for name in value):
            raise ValueError("a file name is empty")
        return value

    @field_validator(
        *("messages", "prompt", "input", "answer", "chosen", "rejected", "margin", "label", "tools", "text"),
        *("subject", "system", "licence"),
    )
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is blank; leave the setting out instead")
        return value

    @model_validator(mode="after")
    def _terms_are_said_once(self) -> "DataConfig":
        for name in ("legal_basis", "licence"):
            if getattr(self, name) and (getattr(self.terms, name) or getattr(self.terms.columns, name)):
                raise ValueError(f"`{name}` is given twice: here and under `terms`")
        return self

    @model_validator(mode="after")
    def _columns_agree(self) -> "DataConfig":
        if self.messages and (self.prompt or self.answer):
            raise ValueError("`messages` is given, so `prompt` and `answer` must not be")
        if self.input and not self.prompt:
            raise ValueError("`input` is given, so `prompt` must be")
        if bool(self.chosen) != bool(self.rejected):
            raise ValueError("`chosen` and `rejected` are given together or not at all")
        if bool(self.prompt) != bool(self.answer) and not (self.prompt and self.chosen):
            raise ValueError("`prompt` and `answer` are given together or not at all")
        if self.answer and self.chosen:
            raise ValueError("`chosen` is given, so `answer` must not be")
        return self
