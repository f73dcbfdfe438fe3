"""MTS-Dialog and SMS Spam through `prepare`, as docs/two-real-datasets.md tells it: figures that must not get worse."""

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_tiny_base
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import make_inspector
from tuneward.settings import Settings
from tuneward.workflows.data_findings import data_findings
from tuneward.workflows.data_stats import data_stats
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.real

MTS = """\
project: dialogue-notes
purpose: Turn a doctor's conversation with a patient into a section of the note.
base: base
use: research
data:
  train: [train.csv]
  test: [test.csv]
  prompt: dialogue
  answer: section_text
  licence: CC-BY-4.0
evaluation:
  task: {kind: text, max_tokens: 256}
"""
SMS = """\
project: sms-spam
purpose: Tell spam from other short messages.
base: base
use: research
data:
  train: [sms.tsv]
  prompt: SMS
  answer: Label
  licence: CC-BY-4.0
  split: {test_share: 0.1}
evaluation:
  task: {kind: text, max_tokens: 8}
"""
FILES = {
    "train.csv": "mts-dialog/MTS-Dialog-TrainingSet.csv",
    "test.csv": "mts-dialog/MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv",
    "sms.tsv": "sms-spam/SMSSpamCollection",
}
#: A number of the length of a British telephone number, with nothing before it that would make it a part of a word.
NUMBER = re.compile(r"(?<![\w+])(?:\+?44|0)\d{9,10}(?!\d)")


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Settings.from_environment().test_data
    if folder is None or not (folder / "mts-dialog").is_dir() or not (folder / "sms-spam").is_dir():
        pytest.skip("TUNEWARD_TEST_DATA names no folder with mts-dialog/ and sms-spam/; the page tells what was found")
    return folder


def walked(folder: Path, data: Path, settings: str) -> Workspace:
    make_tiny_base(folder / "base", max_position_embeddings=65_536)
    (folder / "base" / "LICENSE").write_text("SPDX-License-Identifier: Apache-2.0\n", encoding="utf-8")
    (folder / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\nTiny.\n", encoding="utf-8")
    for name, source in FILES.items():
        if name in settings:
            shutil.copyfile(data / source, folder / name)
    (folder / "tuneward.yaml").write_text(settings, encoding="utf-8")
    init(folder, actor="ada")
    workspace = open_workspace(folder, actor="ada")
    pull(workspace.office, "base", beside=folder)
    return workspace


def found(workspace: Workspace) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in data_findings(workspace).counts:
        counts[line.kind] += line.findings
    return counts


def card_of(page: str) -> Mapping[str, Any]:
    card: Mapping[str, Any] = json.loads(Path(page).with_name("card.json").read_text(encoding="utf-8"))
    return card


@pytest.fixture(scope="module")
def dialogues(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return walked(tmp_path_factory.mktemp("mts"), data, MTS)


@pytest.fixture(scope="module")
def messages(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return walked(tmp_path_factory.mktemp("sms"), data, SMS)


def test_dialogues_are_read_compared_and_looked_at(dialogues: Workspace) -> None:
    result = prepare(dialogues)
    counts = result.counts
    assert counts["train"]["read"] == 1201
    assert counts["train"]["dropped"]["duplicate"] == 1
    assert counts["train"]["dropped"]["contamination"] == 1
    assert counts["near_duplicates"] >= 16
    assert counts["contradictions"] >= 1
    places = card_of(result.card)["places"]
    assert len(places["near_test"]) + len(places["covered_test"]) >= 6
    kinds = found(dialogues)
    least = {"special_health": 955, "special_ethnicity": 31, "special_religion": 6, "special_sexuality": 4}
    assert {kind: kinds[kind] for kind, number in least.items() if kinds[kind] < number} == {}
    assert kinds["date_of_birth"] == 1
    rows = data_stats(dialogues).train.statistics.rows
    assert rows == result.dataset.train_rows == 1199


def test_messages_are_read_with_their_quotes_and_copies_leave(messages: Workspace) -> None:
    result = prepare(messages)
    assert result.counts["train"]["read"] == 5574
    assert result.counts["train"]["dropped"]["duplicate"] >= 427
    assert result.counts["near_duplicates"] >= 233
    kinds = found(messages)
    assert kinds["phone"] >= 277
    assert kinds["email"] >= 7


def texts(data: Path, name: str, columns: tuple[str, ...]) -> Iterator[str]:
    quoting = csv.QUOTE_MINIMAL if name.endswith(".csv") else csv.QUOTE_NONE
    with (data / FILES[name]).open(encoding="utf-8", newline="") as handle:
        rows = csv.DictReader(handle, delimiter="," if name.endswith(".csv") else "\t", quoting=quoting)
        for row in rows:
            yield from (row[column] for column in columns)


def test_of_the_numbers_that_stand_free_no_fewer_are_found(data: Path, tmp_path: Path) -> None:
    inspector = make_inspector(InspectionConfig(), folder=tmp_path)
    free = hit = 0
    for text in texts(data, "sms.tsv", ("SMS",)):
        spans = [finding for finding in inspector.inspect(text) if finding.kind == "phone"]
        for number in NUMBER.finditer(text):
            free += 1
            hit += any(span.start < number.end() and number.start() < span.end for span in spans)
    assert free == 399
    assert hit >= 247


def test_turns_of_a_dialogue_are_no_worse_taken_for_names(data: Path, tmp_path: Path) -> None:
    inspector = make_inspector(InspectionConfig(), folder=tmp_path)
    rules: Counter[str] = Counter()
    for name in ("train.csv", "test.csv"):
        for text in texts(data, name, ("dialogue", "section_text")):
            rules.update(finding.rule for finding in inspector.inspect(text) if finding.kind == "person")
    assert sum(number for rule, number in rules.items() if rule.startswith("person.titled")) >= 145
    assert sum(number for rule, number in rules.items() if rule.startswith("person.labelled")) <= 1800
