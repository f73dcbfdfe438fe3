"""The road on real sentences and a real small model: restaurant sentences to records.

1,500 rows to train on and 200 held out, of the E2E NLG data; about ten minutes on two cores. The base model is pulled
as the quickstart pulls it. Figures of a run stand in docs/results.md.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tuneward.settings import Settings
from tuneward.workflows.init import init
from tuneward.workflows.run import run
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import open_workspace

pytestmark = [pytest.mark.real, pytest.mark.timeout(3000)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "e2e"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    data = Settings.from_environment().test_data
    if data is None or not (data / "e2e" / "train.txt").is_file():
        pytest.skip("TUNEWARD_TEST_DATA names no folder with e2e/; the road itself is walked by the journey tests")
    folder = tmp_path / "e2e"
    shutil.copytree(EXAMPLE, folder)
    subprocess.run(
        [sys.executable, "make_data.py"], cwd=folder, check=True, env={"TUNEWARD_TEST_DATA": str(data.resolve())}
    )
    return folder


def test_sentences_become_records(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # the other tests ask for one thread; this one needs all
    init(project, actor="ada")
    workspace = open_workspace(project, actor="ada")
    walked = run(workspace)
    dataset = walked.of("prepare").dataset
    assert (dataset.train_rows, dataset.test_rows) == (1500, 200)
    figures = walked.of("evaluate").report["figures"]
    assert figures["task.valid"]["n"] == 200
    assert figures["task.valid"]["base"] < 0.05
    assert figures["task.valid"]["tuned"] > 0.95
    assert figures["task.exact_match"]["tuned"] > 0.5
    assert figures["task.exact_match"]["difference_interval"][0] > 0
    assert verify(workspace.office).verified
