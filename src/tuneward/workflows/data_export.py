"""Beside the road: prepared rows leave the site as one file, and the log says who took them.

Place on the road: after ``prepare``. Rows that left are under nobody's control any more, so a role must permit it (the
action ``dataset.export``), and the event is in the log before the file has its name.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuneward.data.export import FORMATS, Format, write_rows
from tuneward.data.stored import stored_rows
from tuneward.digests import digest_file
from tuneward.domain.record import Record, Split
from tuneward.errors import ConfigError, DataError, Fault
from tuneward.governance.change import change, permit
from tuneward.progress import SILENT, Progress
from tuneward.storage.files import explained
from tuneward.workflows.road import survey
from tuneward.workflows.train import require_dataset
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class DataExportResult:
    """What was written.

    Attributes:
        dataset: the dataset's id.
        file: where it lies.
        format: ``jsonl``, ``parquet`` or ``csv``.
        rows: how many rows.
        sha256: digest of the file, which stands in the log.
    """

    dataset: str
    file: str
    format: Format
    rows: int
    sha256: str


def data_export(
    workspace: Workspace,
    to: Path,
    *,
    format: Format | None = None,
    split: Split | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> DataExportResult:
    """Write the rows of the current dataset into a file outside the site.

    Args:
        workspace: the project.
        to: the file.
        format: of the file; its suffix says it when None.
        split: which rows; both splits when None.
        force: whether a file of that name is replaced.
        progress: told of every row.

    Raises:
        GovernanceError: the actor may not export rows; the refusal is logged.
        ConfigError: the suffix names no format.
        DataError: the target is taken or inside the site, or there is no current dataset.
        StorageError: the file cannot be written; nothing is left at the target then.
    """
    office = workspace.office
    permit(office, "dataset.export")
    format = format or _format_of(to)
    _refuse_target(workspace, to, force=force)
    dataset = require_dataset(survey(workspace))
    folder = workspace.site.artifacts.tree(dataset.tree)
    splits = [split] if split else ["train", "test"]

    def rows(progress: Progress = SILENT) -> Iterator[Record]:
        for part in splits:
            yield from stored_rows(folder, part, progress=progress)

    target = to.parent.resolve() / to.name
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    progress.begin("writing rows", unit="rows")
    with explained(target):
        try:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            count = write_rows(rows(progress), partial, forms={row.form for row in rows()}, format=format)
            digest = digest_file(partial)
            with change(office, "dataset.export", dataset.id) as c:
                c.note(format=format, row_count=count, splits=splits, sha256=digest)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    progress.end()
    return DataExportResult(dataset=dataset.id, file=str(target), format=format, rows=count, sha256=digest)


def _format_of(to: Path) -> Format:
    found = next((format for format in FORMATS if to.suffix.lower() == f".{format}"), None)
    if found is None:
        cure = f"end the name in .{', .'.join(FORMATS)}, or add --format"
        raise ConfigError(Fault("TW-CONF-007", f"`{to.suffix or to.name}` names no format", "TO", cure))
    return found


def _refuse_target(workspace: Workspace, to: Path, *, force: bool) -> None:
    with explained(to):
        place = to.parent.resolve() / to.name
        if place.is_relative_to(workspace.site.folder.resolve()) or to.resolve().is_relative_to(
            workspace.site.folder.resolve()
        ):
            cure = "name a file outside of it"
            raise DataError(Fault("TW-DATA-047", "lies inside the site", str(to), cure))
        if to.is_dir():
            raise DataError(Fault("TW-DATA-047", "is a folder", str(to), "name a file in it"))
        if not force and os.path.lexists(to):
            raise DataError(Fault("TW-DATA-047", "is there already", str(to), "name another file, or add --force"))
