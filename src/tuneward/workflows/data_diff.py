"""Any time after ``prepare``: how two datasets of a project differ, in rows and in what they were made under.

Place on the road: between ``prepare`` and ``train``, or years later. It compares governed rows, so a role must permit
it (the action ``dataset.show``); it changes nothing and prints no text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tuneward.amounts import counted
from tuneward.data.difference import Difference, differ
from tuneward.data.stored import stored_card, stored_rows
from tuneward.domain.dataset import Dataset
from tuneward.domain.record import Record
from tuneward.errors import ConfigError, DataError, Fault
from tuneward.governance.change import permit
from tuneward.storage.repository import find, get
from tuneward.workflows.workspace import Workspace

#: Parts of a data card that say under what a dataset was made.
_MADE_UNDER = ("legal", "settings")


@dataclass(frozen=True)
class ValueChange:
    """A setting, file or count that differs.

    Attributes:
        name: where it stands, as in ``settings.too_long`` or ``files.train.jsonl.sha256``.
        before: its value in the earlier dataset, None where it has none.
        after: its value in the later one, None where it has none.
    """

    name: str
    before: object
    after: object


@dataclass(frozen=True)
class DiffResult:
    """How two datasets differ.

    Attributes:
        before: id of the earlier one.
        after: id of the later one.
        identical: whether their fingerprints are the same: the same rows, from the same places, in the same order.
        rows: how their rows differ.
        settings: what of settings, policy, files and base differs.
        counts: what of the counts differs.
    """

    before: str
    after: str
    identical: bool
    rows: Difference
    settings: tuple[ValueChange, ...]
    counts: tuple[ValueChange, ...]


def data_diff(workspace: Workspace, before: str | None = None, after: str | None = None) -> DiffResult:
    """Compare two datasets of the project.

    Args:
        workspace: the project.
        before: id of the one; the project's last but one when None.
        after: id of the other; the project's last one when None.

    Raises:
        GovernanceError: the actor may not see rows; the refusal is logged.
        ConfigError: the project has no dataset of that id.
        DataError: there are not two.
    """
    permit(workspace.office, "dataset.show")
    one, other = _chosen(workspace, before, after)
    artifacts = workspace.site.artifacts
    folders = artifacts.tree(one.tree), artifacts.tree(other.tree)
    made = [_made_under(dataset, folder) for dataset, folder in zip((one, other), folders, strict=True)]
    return DiffResult(
        before=one.id,
        after=other.id,
        identical=one.fingerprint == other.fingerprint,
        rows=differ(_rows(folders[0]), _rows(folders[1])),
        settings=_changes(*made),
        counts=_changes(_flat(one.counts), _flat(other.counts)),
    )


def _chosen(workspace: Workspace, before: str | None, after: str | None) -> tuple[Dataset, Dataset]:
    project = workspace.project.project
    with workspace.site.database.read() as c:
        named = {name: get(c, Dataset, name) for name in (before, after) if name is not None}
        faults = [
            Fault(
                "TW-CONF-007", f"{project!r} has no dataset {name!r}", "command line", "see `tuneward log` for its ids"
            )
            for name, dataset in named.items()
            if dataset is None or dataset.project != project
        ]
        if faults:
            raise ConfigError(faults)
        found = find(c, Dataset, project=project, order="created_at")
    last = named[after] if after else next(reversed(found), None)
    if before:
        first = named[before]
    else:
        earlier = [d for d in found if last and d.created_at <= last.created_at and d.id != last.id]
        first = next(reversed(earlier), None)
    if first is None or last is None:
        message = f"{project!r} has {counted(len(found), 'dataset')}"
        raise DataError(Fault("TW-DATA-048", message, project, "change files or settings and run `tuneward prepare`"))
    return first, last


def _rows(folder: Path) -> Iterator[Record]:
    return chain(stored_rows(folder, "train"), stored_rows(folder, "test"))


def _made_under(dataset: Dataset, folder: Path) -> dict[str, Any]:
    card = stored_card(folder)
    made = {part: dict(card.get(part, {})) for part in _MADE_UNDER}
    counted = {name: made["legal"].pop(name, None) for name in ("lines", "more", "named")}  # rows, not settings
    made["legal"]["terms"] = [line["terms"] for line in counted["lines"] or ()]
    flat = {"base": dataset.base} | _flat(made)
    for file in card["files"]:
        flat |= _flat({name: value for name, value in file.items() if name != "name"}, f"files.{file['name']}")
    return flat


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, names joined by dots."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        flat |= _flat(item, path) if isinstance(item, Mapping) else {path: item}
    return flat


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ValueChange, ...]:
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        ValueChange(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    )
