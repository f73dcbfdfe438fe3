"""Real pairs and a real tokenizer: every sound pair of hh-rlhf shares its prompt token by token."""

import json
from pathlib import Path

import pytest

from tuneward.data.prepared import read_records
from tuneward.errors import DataError
from tuneward.modeling.chat import Chat
from tuneward.modeling.masks import pieces_of
from tuneward.settings import Settings
from tuneward.workflows.data import measure_rows
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.road import survey
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

SETTINGS = """\
project: harmless
purpose: Learn which of two answers is less harmful.
base: smollm2-135m-instruct
data: {train: [train.jsonl], test: [test.jsonl], legal_basis: no_personal_data}
training: {method: dpo}
evaluation:
  task: {kind: text, max_tokens: 64}
"""


@pytest.fixture
def project(tmp_path: Path) -> Workspace:
    data = Settings.from_environment().test_data
    if data is None or not (data / "hh-rlhf" / "pairs.jsonl").is_file():
        pytest.skip("TUNEWARD_TEST_DATA names no folder with hh-rlhf/")
    rows = (data / "hh-rlhf" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "test.jsonl").write_text(json.dumps({"prompt": "Hello?", "answer": "Hello."}), encoding="utf-8")
    (tmp_path / "tuneward.yaml").write_text(SETTINGS, encoding="utf-8")
    init(tmp_path, actor="ada")
    workspace = open_workspace(tmp_path, actor="ada")
    pull(workspace.office, workspace.project.base, beside=tmp_path)
    return workspace


def test_hh_rlhf_is_refused_row_by_row_and_then_prepared(project: Workspace) -> None:
    with pytest.raises(DataError) as caught:
        prepare(project)
    faults = caught.value.faults
    assert {fault.code for fault in faults} == {"TW-DATA-017", "TW-DATA-018"}
    path = project.folder / "train.jsonl"
    bad = {int(fault.place.partition(":")[2]) for fault in faults}
    rows = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join(row for number, row in enumerate(rows, 1) if number not in bad), encoding="utf-8")
    dataset = prepare(project).dataset
    assert dataset.train_rows == len(rows) - len(bad)
    census = measure_rows(project).train
    assert census is not None
    assert census.learned < census.tokens
    road = survey(project)
    assert road.base is not None
    assert road.dataset is not None
    chat = Chat.load(project.site.artifacts.tree(road.base.id))
    for record in read_records(project.site.artifacts.tree(road.dataset.tree) / "train.jsonl"):
        assert record.rejected is not None
        prompt, chosen, rejected = chat.pair(record.prompt, record.messages[-1], record.rejected)
        assert chosen[-1] == rejected[-1]
        assert chosen[-1] in chat.stop_ids
        assert chat.decode(chosen[:-1], control=True).strip() == record.answer.strip()
        pieces = pieces_of(chat, record, loss_on="answers")
        assert sum(piece.tokens for piece in pieces) == len(prompt) + len(chosen) + len(rejected)
