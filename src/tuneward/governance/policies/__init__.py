"""Policies: the rules of a site as data; three are built in, a site may bring its own file.

Place on the road: loaded before every step; ``prepare`` reads what to do about findings, ``change`` who may do what,
``approvals`` whether one person may do both. Knows nothing of what is governed beyond the names of actions.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from tuneward.configuration import Section, load_section
from tuneward.digests import digest_value
from tuneward.domain.finding import Action as FindingAction
from tuneward.domain.policy import Policy
from tuneward.errors import ConfigError, Fault, GovernanceError
from tuneward.governance.actions import Action, Role

#: Terms that a policy may ask of rows, and why rows may not be used.
Required = Literal[
    "subject",
    "legal_basis",
    "consent",
    "consent_expires",
    "purpose",
    "condition",
    "licence",
    "origin",
    "category",
    "collected",
    "classification",
    "retention",
    "geography",
]
Unlawful = Literal["missing", "expired", "withdrawn", "retention", "geography", "special"]

#: The policies that come with Tuneward, mildest first.
BUILT_IN: tuple[str, ...] = ("solo", "team", "regulated")


class PolicyFile(Section):
    """A policy as it is written down."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """How events and approvals name the policy: small letters, digits, ``.``, ``_``, ``-``."""
    version: str = Field(min_length=1)
    """Raise it with every change of the rules; events also carry the digest of the rules themselves."""
    self_approval: bool
    """Whether whoever asks may also grant; the record says so either way."""
    approval_required: bool
    """Whether a training needs a granted approval."""
    contamination: Literal["drop", "block"]
    """What happens to training rows that also stand in the test set: they leave, or the step stops."""
    on_finding: dict[str, FindingAction]
    """Kind of finding → ``allow | tag | pseudonymise | redact | drop | block``; ``term`` and ``pattern`` stand for all
    lists and patterns that are not named (``term:customers``), ``*`` for every kind that is not named."""
    require: tuple[Required, ...] = ()
    """Terms that every row must have; ``consent`` (its reference) is asked where consent is the basis, ``condition``
    where a finding of a special category stands in the row."""
    on_unlawful: dict[Literal[Unlawful, "*"], Literal["drop", "block"]] = Field(default={"*": "block"})
    """Why a row may not be used (``missing`` terms, consent ``expired`` or ``withdrawn``, ``retention`` passed,
    ``geography`` not allowed, ``special`` category without condition) → it leaves, or the step stops; ``*`` is for
    every reason that is not named."""
    geography: tuple[str, ...] = ()
    """Countries (ISO 3166-1 alpha-2) and groups (``EU``, ``EEA``) that rows may come from; empty for all. Where some
    are named, rows must say where they come from."""
    affected: Literal["warn", "refuse"] = "warn"
    """What happens when a version downstream of a withdrawn consent is registered, deployed, served or exported."""
    base_licence: Literal["stated", "decided"] = "stated"
    """Whether a base's licence counts as its files state it, or a member has to decide on it (``tuneward licence
    decide``)."""
    may: dict[Literal[Action, "*"], tuple[Role, ...]]
    """Action → roles that may do it; ``*`` is for every action that is not named."""

    @field_validator("on_unlawful")
    @classmethod
    def _names_the_other_reasons(cls, value: dict[str, str]) -> dict[str, str]:
        if "*" not in value:
            raise ValueError('say what happens for all other reasons: `"*": block`')
        return value

    @field_validator("on_finding")
    @classmethod
    def _names_the_rest(cls, value: dict[str, FindingAction]) -> dict[str, FindingAction]:
        if "*" not in value:
            raise ValueError('say what happens to all other kinds of finding: `"*": redact`')
        return value

    def policy(self) -> Policy:
        """The noun; its version ends in the first 12 digits of the digest of the rules."""
        rules = self.canonical()
        return Policy(
            name=self.name,
            version=f"{self.version}+{digest_value(rules)[:12]}",
            may={str(action): tuple(roles) for action, roles in self.may.items()},
            self_approval=self.self_approval,
            on_finding=dict(self.on_finding),
            approval_required=self.approval_required,
            contamination=self.contamination,
            require=self.require,
            on_unlawful={str(reason): action for reason, action in self.on_unlawful.items()},
            geography=self.geography,
            affected=self.affected,
            base_licence=self.base_licence,
        )


def load_policy(name_or_path: str | Path) -> Policy:
    """The built-in policy of this name, or the policy in this YAML file.

    Raises:
        GovernanceError: when it is neither.
        ConfigError: when the file is wrong; all faults at once, with lines.
    """
    path = Path(name_or_path)
    if str(name_or_path) in BUILT_IN:
        return load_section(Path(__file__).parent / f"{name_or_path}.yaml", PolicyFile).policy()
    if not path.is_file():
        raise GovernanceError(
            Fault(
                "TW-GOV-003",
                f"`{name_or_path}` is neither a built-in policy nor a file",
                "policy",
                f"choose {', '.join(BUILT_IN)} or name a policy file",
            )
        )
    policy = load_section(path, PolicyFile).policy()
    if policy.name in BUILT_IN:  # approvals and events name the policy, and a reader must not be misled
        message = f"`{policy.name}` is the name of a built-in policy"
        raise ConfigError(Fault("TW-CONF-004", message, str(path), "give the file's policy a name of its own"))
    return policy


def label(policy: Policy) -> str:
    """Name and version as events and approvals carry them: ``solo@1+0123456789ab``."""
    return f"{policy.name}@{policy.version}"


def roles_for(policy: Policy, action: str) -> tuple[str, ...] | None:
    """The roles that may do an action; None when the policy says nothing about it."""
    return policy.may.get(action, policy.may.get("*"))
