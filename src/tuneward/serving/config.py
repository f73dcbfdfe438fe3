"""Settings of serving: where the gateway listens and what one answer may cost.

Place on the road: ``serving:`` in ``tuneward.yaml``, read by ``workflows/gateway``. Knows nothing of deployments.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Final, Literal

from pydantic import Field, field_validator, model_validator

from tuneward.configuration import Section, SettingError

#: Hosts that only this machine can reach.
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


_OWN: Final = ("term", "pattern")
_OF_A_LIST: Final = tuple(f"{family}:" for family in _OWN)

GuardAction = Literal["allow", "tag", "redact", "block"]


class GuardConfig(Section):
    """What is done about findings in prompts and answers; where nothing is said, nothing is looked at."""

    prompts: dict[str, GuardAction] = Field(default={})
    """Kind of finding → ``allow``, ``tag`` (count it in the log), ``redact`` (the engine reads a placeholder) or
    ``block`` (the request is refused); ``term`` and ``pattern`` stand for all own lists and patterns, ``*`` for every
    kind that is not named, which is allowed otherwise."""

    answers: dict[str, GuardAction] = Field(default={})
    """The same for answers: ``redact`` sends a placeholder, ``block`` an empty answer with the finish reason
    ``content_filter``. Answers are held back until they are whole, streamed ones too."""

    @field_validator("prompts", "answers")
    @classmethod
    def _kinds_exist(cls, value: dict[str, GuardAction]) -> dict[str, GuardAction]:
        if value:
            from tuneward.inspection.detectors import DETECTORS  # tables of many countries: only where a guard is set

            known = {*DETECTORS, "confidential", *_OWN, "*"}
            unknown = sorted(name for name in value if name not in known and not name.startswith(_OF_A_LIST))
            if unknown:
                near = [found for name in unknown for found in difflib.get_close_matches(name, known, n=1)]
                hint = f"did you mean {', '.join(f'`{name}`' for name in near)}? " if near else ""
                what, cure = f"no such kind of finding: {', '.join(unknown)}", f"{hint}docs/inspection.md lists them"
                raise SettingError(what, at=(unknown[0],), cure=cure)
        return value

    def refuse_unknown_lists(self, lists: Mapping[str, Collection[str]]) -> None:
        """See that every list and pattern that is named exists: a guard that names none of them looks for nothing.

        Args:
            lists: ``term`` and ``pattern`` → the names of the project's own.

        Raises:
            SettingError: naming all that do not exist, and the nearest that does.
        """
        known = [f"{family}:{name}" for family in _OWN for name in lists[family]]
        named = [("prompts", name) for name in self.prompts] + [("answers", name) for name in self.answers]
        unknown = [(side, name) for side, name in named if name.startswith(_OF_A_LIST) and name not in known]
        if not unknown:
            return
        side, first = unknown[0]
        near = difflib.get_close_matches(first, known, n=1, cutoff=0.5)
        there = f"there are: {', '.join(known)}" if known else "`inspection` names no list and no pattern"
        cure = f"did you mean `{near[0]}`?" if near else f"name it under `inspection.terms` or `.patterns`; {there}"
        names = ", ".join(dict.fromkeys(f"`{name}`" for _, name in unknown))
        raise SettingError(f"no such list or pattern: {names}", at=(side, first), cure=cure)


class ServingConfig(Section):
    """How the gateway and its engine run."""

    alias: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The model name that clients use; the project's name when left out."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address that the gateway listens on."""

    allow_remote: bool = False
    """Must be true before the gateway listens on an address that other machines can reach."""

    port: int = Field(default=8321, ge=0, le=65535)
    """Port of the gateway; 0 takes a free one."""

    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Number format of the engine; ``auto`` is the one that evaluation uses on the same machine."""

    max_rows: int = Field(default=64, ge=1, le=1024)
    """Most answers that the engine decodes at the same time; further ones wait."""

    max_tokens: int = Field(default=1024, ge=1)
    """Most tokens of one answer; also what a client gets that names no limit of its own."""

    temperature: float = Field(default=0.0, ge=0.0, le=2.0, allow_inf_nan=False)
    """Used where the client names none. 0 is greedy decoding, the one that was evaluated."""

    max_body_bytes: int = Field(default=2_000_000, ge=1_000)
    """Largest request body."""

    request_timeout_seconds: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Longest time for one answer, waiting in the queue included."""

    guard: GuardConfig = GuardConfig()
    """What is done about findings in prompts and answers."""

    @model_validator(mode="after")
    def _stays_at_home(self) -> "ServingConfig":
        if self.host not in LOOPBACK and not self.allow_remote:
            raise ValueError(
                f"host {self.host} can be reached from other machines; set allow_remote: true if that is meant"
            )
        return self
