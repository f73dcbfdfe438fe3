"""Policy: the rules of a site or project, as data; Member: who may do what."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Policy:
    """Rules under which governed steps run.

    Attributes:
        name: ``solo``, ``team``, ``regulated`` or the policy file's own name.
        version: of this policy's text; stands in every audit event.
        may: action → roles that may do it.
        self_approval: whether the requester may grant the own request (the record says so either way).
        on_finding: kind of finding → :data:`domain.finding.Action`; a kind such as ``term:customers`` falls back on
            ``term``, and every kind on ``*``.
        approval_required: whether training needs a granted approval.
        contamination: what happens to training rows that also stand in the test set: ``drop`` or ``block``.
        require: terms that every row must have: names of :class:`domain.law.Terms`; ``consent`` only where consent is
            the basis, ``condition`` only where a finding of a special category stands in the row.
        on_unlawful: why a row may not be used → ``drop | block``; ``*`` is the default.
        geography: countries and groups of countries that rows may come from; empty for all.
        affected: what happens to what stands downstream of a withdrawn consent: ``warn`` or ``refuse``.
        base_licence: whether a base's licence counts as ``stated`` by its files, or has to be ``decided`` by a member.
    """

    name: str
    version: str
    may: Mapping[str, tuple[str, ...]]
    self_approval: bool
    on_finding: Mapping[str, str]
    approval_required: bool
    contamination: str
    require: tuple[str, ...] = ()
    on_unlawful: Mapping[str, str] = field(default_factory=lambda: {"*": "block"})
    geography: tuple[str, ...] = ()
    affected: str = "warn"
    base_licence: str = "stated"


@dataclass(frozen=True)
class Member:
    """A person or service known to the site.

    Attributes:
        id: the name under which it acts (embedded default: the operating system's user).
        roles: any of ``engineer``, ``approver``, ``operator``, ``auditor``, ``owner``.
        created_at: UTC, ISO 8601.
    """

    id: str
    roles: tuple[str, ...]
    created_at: str
