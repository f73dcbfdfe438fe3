"""The claims example through `prepare`: every planted fault counted: found, missed, wrongly found, as its page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.tiny import make_tiny_base
from tuneward.workflows.consent import withdraw
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.workspace import open_workspace

pytestmark = pytest.mark.journey

EXAMPLE = Path(__file__).parents[2] / "examples" / "claims"
Table = Mapping[str, tuple[int, int, int, int]]
#: Kinds of which something is missed or wrongly found today, and the least that must be found. All others: everything,
#: and nothing wrongly.
FLAWS: Table = {
    "assistant_phrase": (5, 3, 2, 0),
    "licence_plate": (35, 34, 1, 0),
    "phone": (128, 127, 1, 0),
    "placeholder": (4, 2, 2, 0),
}
#: What is planted; a kind that is planted less often has lost plants.
PLANTED = {
    "also_in_test": 2,
    "api_key": 3,
    "assistant_phrase": 5,
    "broken_json": 6,
    "card": 4,
    "card, base64": 1,
    "card, zero width": 1,
    "card_near_miss": 4,
    "confidential": 4,
    "consent_expired": 6,
    "consent_withdrawn": 3,
    "contradiction": 5,
    "duplicate": 12,
    "email": 120,
    "email, base64": 1,
    "email, full width": 1,
    "email, url": 1,
    "email, words": 2,
    "email, zero width": 1,
    "iban": 5,
    "iban, base64": 1,
    "iban, full width": 1,
    "iban, zero width": 2,
    "iban_near_miss": 4,
    "licence_plate": 35,
    "near_duplicate": 12,
    "outside_schema": 4,
    "password": 3,
    "phone": 128,
    "placeholder": 4,
    "retention_passed": 4,
}


def check(project: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "check_planted.py", *options],
        cwd=project,
        env={**os.environ, "TUNEWARD_ACTOR": ACTOR},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(project: Path) -> Table:
    lines = json.loads(check(project, "--json"))
    return {line["kind"]: (line["planted"], line["found"], line["missed"], line["wrong"]) for line in lines}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("claims") / "project"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "data", ".tuneward"))
    subprocess.run([sys.executable, "-B", "make_data.py"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    make_tiny_base(folder / "base", max_position_embeddings=4096)
    (folder / "base" / "LICENSE").write_text("SPDX-License-Identifier: Apache-2.0\n", encoding="utf-8")
    (folder / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\nTiny.\n", encoding="utf-8")
    settings = folder / "tuneward.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("smollm2-135m-instruct", "base"), encoding="utf-8")
    init(folder, actor=ACTOR)
    workspace = open_workspace(folder, actor=ACTOR)
    pull(workspace.office, "base", beside=folder)
    prepare(workspace)
    return folder


def test_every_plant_is_counted_and_what_is_missed_is_known(project: Path) -> None:
    found = table(project)
    assert {kind: planted for kind, (planted, _, _, _) in found.items() if planted} == PLANTED
    for kind, (planted, right, missed, wrong) in found.items():
        assert planted == right + missed
        if kind == "consent_withdrawn":
            continue
        _, least, _, most_wrong = FLAWS.get(kind, (0, planted, 0, 0))
        assert right >= least, kind
        assert wrong <= most_wrong, kind


def test_the_page_shows_the_table_that_the_command_prints(project: Path) -> None:
    shown = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    printed = [line.rstrip() for line in check(project).splitlines()]
    assert printed[0] in shown
    for line in printed[1:]:
        kind = re.match(r"\w+(, \w+( \w+)?)?", line)
        assert kind is not None
        assert line in shown, f"README.md says otherwise of {kind.group()}"


def test_what_trains_holds_none_of_the_planted_texts(project: Path) -> None:
    workspace = open_workspace(project, actor=ACTOR)
    folder = Path(prepare(workspace).card).parent
    trains = {name: (folder / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("train", "test")}
    plan = json.loads((project / "data" / "planted.json").read_text(encoding="utf-8"))
    kept = [
        plant
        for plant in plan
        if "text" in plant
        and not plant["kind"].endswith("_near_miss")
        and json.dumps(plant["text"], ensure_ascii=False)[1:-1]
        in trains[plant["file"].partition(".")[0].replace("agency", "train")]
    ]
    assert len(kept) <= 2, [(plant["kind"], plant["line"]) for plant in kept]  # a telephone number and a plate


def test_a_withdrawn_consent_takes_its_row_out_of_the_next_dataset(project: Path) -> None:
    before = open_workspace(project, actor=ACTOR)
    rows = prepare(before).dataset.train_rows
    plan = json.loads((project / "data" / "planted.json").read_text(encoding="utf-8"))
    for reference in [plant["consent"] for plant in plan if plant["kind"] == "consent_withdrawn"]:
        withdraw(open_workspace(project, actor=ACTOR).office, reference)
    after = table(project)
    assert after["consent_withdrawn"] == (3, 3, 0, 0)
    assert prepare(open_workspace(project, actor=ACTOR)).dataset.train_rows == rows - 3
