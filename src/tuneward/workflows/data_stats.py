"""Any time after ``prepare``: what the rows of a dataset are made of, and where they come from.

Place on the road: between ``prepare`` and ``train``. It counts governed rows, so a role must permit it (the action
``dataset.show``); it changes nothing and prints no text.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tuneward.data.statistics import Statistics, take_statistics
from tuneward.data.stored import stored_card, stored_rows
from tuneward.domain.dataset import Dataset
from tuneward.governance.change import permit
from tuneward.progress import SILENT, Progress
from tuneward.workflows.road import survey
from tuneward.workflows.train import require_dataset
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class SplitStats:
    """One split.

    Attributes:
        tokens: tokens of the base that pass through the model.
        answer_tokens: those of the answers.
        languages: language → rows, or None where ``prepare`` told none.
        statistics: what its rows are made of.
    """

    tokens: int
    answer_tokens: int
    languages: Mapping[str, int] | None
    statistics: Statistics


@dataclass(frozen=True)
class DataFileStats:
    """A file that the dataset was made from.

    Attributes:
        name: as the project names it.
        split: ``train`` or ``test``.
        bytes: its size.
        sha256: its digest.
        columns: what was taken from where.
        rows: rows of it that are in the dataset.
    """

    name: str
    split: str
    bytes: int
    sha256: str
    columns: str
    rows: int


@dataclass(frozen=True)
class StatsResult:
    """What the current dataset is made of.

    Attributes:
        dataset: its id.
        files: every file that it was made from.
        train: the training rows.
        test: the test rows.
        next: the command that comes next.
    """

    dataset: str
    files: tuple[DataFileStats, ...]
    train: SplitStats
    test: SplitStats
    next: str = "tuneward data findings"


def data_stats(workspace: Workspace, *, progress: Progress = SILENT) -> StatsResult:
    """Count the rows of the current dataset.

    Raises:
        GovernanceError: the actor may not see rows; the refusal is logged.
        DataError: there is no current dataset.
    """
    permit(workspace.office, "dataset.show")
    dataset = require_dataset(survey(workspace))
    folder = workspace.site.artifacts.tree(dataset.tree)
    progress.begin("counting rows", total=dataset.train_rows + dataset.test_rows, unit="rows")

    def told(split: str) -> Statistics:
        return take_statistics(stored_rows(folder, split, progress=progress))

    train, test = _split(dataset, "train", told("train")), _split(dataset, "test", told("test"))
    progress.end()
    kept = {
        (split, file.name): file.rows
        for split, stats in (("train", train), ("test", test))
        for file in stats.statistics.files
    }
    files = tuple(
        DataFileStats(
            name=file["name"],
            split=file["split"],
            bytes=file["bytes"],
            sha256=file["sha256"],
            columns=file["columns"],
            rows=kept.get((file["split"], file["name"]), 0),
        )
        for file in stored_card(folder)["files"]
    )
    return StatsResult(dataset=dataset.id, files=files, train=train, test=test)


def _split(dataset: Dataset, split: str, statistics: Statistics) -> SplitStats:
    counts = dataset.counts[split]
    return SplitStats(counts["tokens"], counts["answer_tokens"], counts.get("languages"), statistics)
