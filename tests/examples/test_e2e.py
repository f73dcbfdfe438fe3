"""The e2e example: rows from sentences of one's own, no leak between the splits, clear refusals; and the real data."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tuneward.settings import Settings

FOLDER = Path(__file__).parents[2] / "examples" / "e2e"


def run_script(source: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-S", "-B", FOLDER / "make_data.py", "--source", source, "--out", out, *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def source_with(folder: Path, *, train: str, test: str) -> Path:
    (folder / "e2e").mkdir(parents=True)
    (folder / "e2e" / "train.txt").write_text(train, encoding="utf-8")
    (folder / "e2e" / "test.txt").write_text(test, encoding="utf-8")
    return folder


def plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


TRAIN = """name : Aromi | Type : pub | family friendly : no||Aromi is a pub , not for children .
name : Cocum | price : more than £ 30||Cocum is dear .
name : Cocum | price : more than £ 30||cocum is dear!
name : Leak | area : riverside||Some other words .
name : Zizzi | food : English||Shared sentence .
"""
TEST = """name : Leak | area : riverside||Leak lies by the river .
name : Other | near : Aromi||Shared sentence .
"""


@pytest.mark.parametrize("seed", range(12))
def test_rows_hold_all_keys_and_nothing_leaks(tmp_path: Path, seed: int) -> None:
    source = source_with(tmp_path / "data", train=TRAIN, test=TEST)
    done = run_script(source, tmp_path / "out", "--train", "2", "--test", "2", "--seed", str(seed))
    assert done.returncode == 0, done.stderr
    train, test = read(tmp_path / "out" / "train.jsonl"), read(tmp_path / "out" / "test.jsonl")
    assert (len(train), len(test)) == (2, 2)
    for column in ("prompt", "answer"):
        assert not {plain(row[column]) for row in train} & {plain(row[column]) for row in test}, column
    schema = json.loads((FOLDER / "restaurant.schema.json").read_text())
    for row in train + test:
        record = json.loads(row["answer"])
        jsonschema.validate(record, schema)
        assert list(record) == schema["required"]


def test_slots_become_keys_and_absent_ones_null(tmp_path: Path) -> None:
    lines = "name : Aromi | Type : pub | family friendly : no||Aromi is a pub , not for children .\n"
    source = source_with(tmp_path / "data", train=lines, test="name : Cocum | price : high||Cocum is dear .\n")
    done = run_script(source, tmp_path / "out", "--train", "1", "--test", "1")
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "out" / "train.jsonl") + read(tmp_path / "out" / "test.jsonl")
    aromi, cocum = sorted((json.loads(row["answer"]) for row in rows), key=lambda record: record["name"])
    assert (aromi["eatType"], aromi["familyFriendly"], aromi["near"]) == ("pub", "no", None)
    assert (cocum["priceRange"], cocum["eatType"]) == ("high", None)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    source = source_with(tmp_path / "data", train=TRAIN, test=TEST)
    texts = []
    for name in ("one", "two"):
        run_script(source, tmp_path / name, "--train", "2", "--test", "1")
        texts.append([(tmp_path / name / file).read_bytes() for file in ("train.jsonl", "test.jsonl")])
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("name : Aromi\n", "train.txt:1"),
        ("name : Aromi||\n", "train.txt:1"),
        ("name : Aromi | shoe size : 4||Aromi .\n", "train.txt:1"),
        ("name : Aromi||Aromi .\n", "only 1 different"),
    ],
)
def test_bad_sources_are_refused_before_anything_is_written(tmp_path: Path, train: str, said: str) -> None:
    source = source_with(tmp_path / "data", train=train, test=TEST)
    done = run_script(source, tmp_path / "out", "--train", "2", "--test", "2")
    assert done.returncode != 0
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    done = run_script(tmp_path / "nowhere", tmp_path / "out")
    assert done.returncode != 0
    assert "train.txt" in done.stderr


def test_the_real_data_give_1500_and_200(tmp_path: Path) -> None:
    folder = Settings.from_environment().test_data
    if folder is None or not (folder / "e2e" / "train.txt").is_file():
        pytest.skip("TUNEWARD_TEST_DATA with e2e/ is not there")
    assert run_script(folder, tmp_path / "out").returncode == 0
    train, test = read(tmp_path / "out" / "train.jsonl"), read(tmp_path / "out" / "test.jsonl")
    assert (len(train), len(test)) == (1500, 200)
    for key in ("prompt", "answer"):
        assert not {row[key] for row in train} & {row[key] for row in test}
