"""Folders that `datasets` saved: their shards in order, their splits by name; nothing outside of them."""

import json

import pyarrow
import pytest
from data_cases import prepare, refused, row

ROWS = [row(f"q{n}", f"a{n}") for n in range(30)]


def save(folder, rows=ROWS, shards=3):
    """What ``Dataset.save_to_disk`` writes."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{shards:05d}.arrow" for n in range(shards)]
    size = -(-len(rows) // shards)
    for number, name in enumerate(names):
        table = pyarrow.Table.from_pylist(rows[number * size : (number + 1) * size])
        with pyarrow.ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))


def prompts(prepared, split="train"):
    return [record.messages[0].content for record in getattr(prepared, split)]


def test_the_shards_of_a_saved_dataset_are_read_in_their_order(tmp_path):
    save(tmp_path / "saved", shards=10)
    assert prompts(prepare(tmp_path, train=["saved"])) == [r["prompt"] for r in ROWS]


def test_a_dataset_below_a_folder_is_found_among_other_files(tmp_path):
    save(tmp_path / "data" / "b", ROWS[:3], 1)
    (tmp_path / "data" / "a.jsonl").write_text(json.dumps(row("first", "x")) + "\n")
    (tmp_path / "data" / "c.jsonl").write_text(json.dumps(row("last", "x")) + "\n")
    assert prompts(prepare(tmp_path, train=["data"])) == ["first", "q0", "q1", "q2", "last"]


def test_of_splits_each_side_gets_its_own_and_others_are_named(tmp_path):
    for number, name in enumerate(("train", "test", "validation")):
        save(tmp_path / "saved" / name, ROWS[number * 10 : number * 10 + 10], 2)
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test", "validation"]}))
    prepared = prepare(tmp_path, train=["saved"], test=["saved"])
    assert (prompts(prepared)[0], prompts(prepared, "test")[0]) == ("q0", "q10")
    assert (len(prepared.train), len(prepared.test)) == (10, 10)
    assert prompts(prepare(tmp_path, train=["saved/validation"]))[0] == "q20"


def test_a_split_or_shard_that_is_missing(tmp_path):
    save(tmp_path / "saved" / "train")
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    assert refused(tmp_path, train=["saved"], test=["saved"]) == [("TW-DATA-045", "data.test[0]: saved")]
    next((tmp_path / "saved" / "train").glob("*.arrow")).unlink()
    assert refused(tmp_path, train=["saved"]) == [("TW-DATA-045", "data.train[0]: saved")]


@pytest.mark.parametrize("name", ["../outside.arrow", "/etc/passwd", "..", "", "a/b.arrow", 7, None, "x\0.arrow"])
def test_a_shard_that_lies_elsewhere_is_refused(tmp_path, name):
    save(tmp_path / "saved")
    (tmp_path / "outside.arrow").write_bytes(b"x")
    (tmp_path / "saved" / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    assert refused(tmp_path, train=["saved"]) == [("TW-DATA-045", "data.train[0]: saved")]


def test_a_shard_that_is_a_link_out_of_the_project_is_refused(tmp_path):
    save(tmp_path / "outside")
    save(tmp_path / "project" / "saved", shards=1)
    shard = next((tmp_path / "project" / "saved").glob("*.arrow"))
    shard.unlink()
    shard.symlink_to(next((tmp_path / "outside").glob("*.arrow")))
    assert refused(tmp_path / "project", train=["saved"]) == [("TW-DATA-003", "data.train[0]")]


def test_what_datasets_itself_writes_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict(train=whole.select(range(20)), test=whole.select(range(20, 30))).save_to_disk(
        str(tmp_path / "saved"), num_shards={"train": 3, "test": 1}
    )
    prepared = prepare(tmp_path, train=["saved"], test=["saved"])
    assert prompts(prepared) + prompts(prepared, "test") == [r["prompt"] for r in ROWS]
