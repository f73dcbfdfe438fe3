"""ModelVersion: a signed, registered model; Deployment: a version under an alias; ApiKey: who may call it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a project's model.

    Attributes:
        id: ``ver_…``.
        project: the project's name.
        number: 1, 2, 3… within the project.
        adapter: digest of the adapter's artefact tree.
        base: digest of the base.
        dataset: dataset id.
        run: run id.
        approval: approval id, or None where the policy asks for none.
        evaluation: evaluation id.
        papers: digest of the artefact tree with ``aibom.cdx.json``, ``model-card.md`` and ``statement.dsse.json``.
        statement: SHA-256 of the signed statement's envelope.
        key_id: id of the signing key.
        tool_version: version of Tuneward that registered it.
        created_at: UTC, ISO 8601.
    """

    id: str
    project: str
    number: int
    adapter: str
    base: str
    dataset: str
    run: str
    approval: str | None
    evaluation: str
    papers: str
    statement: str
    key_id: str
    tool_version: str
    created_at: str


@dataclass(frozen=True)
class Deployment:
    """A version that may be served under an alias.

    Attributes:
        id: ``dep_…``.
        project: the project's name.
        alias: the model name that clients use.
        version: the version's id.
        status: ``active | replaced``.
        system: system message applied where the client sends none (the one of training), or None.
        canary_difference: mean absolute difference of log-probabilities between adapter and base, measured at deploy.
        created_at: UTC, ISO 8601.
    """

    id: str
    project: str
    alias: str
    version: str
    status: str
    system: str | None
    canary_difference: float
    created_at: str


@dataclass(frozen=True)
class ApiKey:
    """A key to the gateway; the key itself is shown once and kept nowhere.

    Attributes:
        id: ``key_…``.
        name: whom or what it is for.
        member: the member on whose behalf it acts.
        key_hash: keyed SHA-256 of the key.
        created_at: UTC, ISO 8601.
        revoked_at: UTC, ISO 8601, or None.
    """

    id: str
    name: str
    member: str
    key_hash: str
    created_at: str
    revoked_at: str | None
