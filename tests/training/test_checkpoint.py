import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from tuneward.errors import TrainingError
from tuneward.training import checkpoint
from tuneward.training.checkpoint import Checkpoints, State

#: Edits of a note, none of which touches the state.
NOTES = {"another step": {"step": 0}, "other counters": {"counters": {"tokens": 7}}, "another best": {"best_step": 1}}


def state(step):
    return State(step, {"x": torch.full((3,), float(step)), "random": torch.get_rng_state()}, {"tokens": step * 10})


def test_newest_comes_back_whole_and_two_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", "inputs")
    assert checkpoints.newest() is None
    for step in (1, 9, 10, 11):
        checkpoints.write(state(step))
    assert sorted(entry.name for entry in (tmp_path / "c").iterdir()) == ["step-00000010", "step-00000011"]
    again = checkpoints.newest()
    assert (again.step, again.counters) == (11, {"tokens": 110})
    assert torch.equal(again.tensors["x"], state(11).tensors["x"])


@pytest.mark.parametrize("damage", ["a byte", "cut", "note cut", "note missing", "state missing", *NOTES])
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints.write(state(1))
    newest = tmp_path / checkpoints.write(state(2)).folder
    weights, note = newest / "state.safetensors", newest / "checkpoint.json"
    if damage == "a byte":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif damage in NOTES:
        note.write_text(json.dumps(json.loads(note.read_text()) | NOTES[damage]))
    elif damage == "note cut":
        note.write_text(note.read_text()[:20])
    else:
        (note if damage == "note missing" else weights).unlink()
    assert checkpoints.newest().step == 1


def test_all_damaged_is_said(tmp_path):
    checkpoints = Checkpoints(tmp_path, "inputs")
    (tmp_path / checkpoints.write(state(1)).folder / "state.safetensors").write_bytes(b"")
    with pytest.raises(TrainingError) as caught:
        checkpoints.newest()
    assert caught.value.faults[0].code == "TW-TRAIN-011"


def test_a_checkpoint_of_other_inputs_is_refused(tmp_path):
    Checkpoints(tmp_path, "inputs").write(state(1))
    with pytest.raises(TrainingError) as caught:
        Checkpoints(tmp_path, "others").newest()
    assert caught.value.faults[0].code == "TW-TRAIN-008"


@pytest.mark.parametrize("moment", ["state", "note", "rename"])
def test_a_full_disk_keeps_the_old_one_and_leaves_nothing_half_done(tmp_path, monkeypatch, moment):
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints.write(state(1))
    whole_write, whole_rename = checkpoint._write, Path.rename

    def full(path, data):
        path.write_bytes(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_state(tensors, path):
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    def rename(self, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if moment == "state":
        monkeypatch.setattr(checkpoint, "save_file", full_state)
    monkeypatch.setattr(checkpoint, "_write", full if moment == "note" else whole_write)
    monkeypatch.setattr(Path, "rename", rename if moment == "rename" else whole_rename)
    with pytest.raises(TrainingError) as caught:
        checkpoints.write(state(2))
    assert caught.value.faults[0].code == "TW-TRAIN-009"
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoints.newest().step == 1


def test_what_a_killed_writer_left_is_swept_and_never_read(tmp_path):
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints.write(state(1))
    left = tmp_path / ".writing-step-00000002-77"
    left.mkdir()
    (left / "checkpoint.json").write_text(json.dumps({"step": 2}))
    assert checkpoints.newest().step == 1
    checkpoints.write(state(3))
    assert not left.exists()


def test_the_same_step_can_be_written_again(tmp_path):
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints.write(state(4))
    checkpoints.write(state(4))
    assert checkpoints.newest().step == 4


def best(step):
    return State(step, {"x": torch.full((3,), float(step))}, {})


def with_best(step, best_step):
    return State(step, state(step).tensors, {}, best_step)


def test_the_best_is_never_swept_by_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints.write_best(best(3))
    for step in (4, 5, 6, 7):
        checkpoints.write(with_best(step, 3))
    assert sorted(e.name for e in tmp_path.iterdir()) == ["best-00000003", "step-00000006", "step-00000007"]
    assert torch.equal(checkpoints.best(3).tensors["x"], best(3).tensors["x"])
    assert checkpoints.newest().best_step == 3


def test_an_older_best_stays_while_a_checkpoint_counts_on_it(tmp_path):
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints.write_best(best(3))
    checkpoints.write(with_best(5, 3))
    for step in (8, 9):  # a run killed now goes on from step 5, whose best is that of step 3
        checkpoints.write_best(best(step))
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {"best-00000003", "best-00000009", "step-00000005"}
    for step in (9, 10):
        checkpoints.write(with_best(step, 9))
    checkpoints.write_best(best(11))
    assert {"best-00000009", "best-00000011"} == {e.name for e in tmp_path.iterdir() if e.name.startswith("best")}


@pytest.mark.parametrize("damage", ["a byte", "gone", "other inputs"])
def test_a_damaged_best_is_said(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path, "inputs")
    weights = tmp_path / checkpoints.write_best(best(3)).folder / "state.safetensors"
    if damage == "a byte":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "gone":
        weights.unlink()
    asked = checkpoints if damage != "other inputs" else Checkpoints(tmp_path, "others")
    with pytest.raises(TrainingError) as caught:
        asked.best(3)
    assert caught.value.faults[0].code == ("TW-TRAIN-008" if damage == "other inputs" else "TW-TRAIN-011")


def test_a_full_disk_keeps_the_old_best(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "inputs")
    checkpoints.write_best(best(3))

    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(TrainingError) as caught:
        checkpoints.write_best(best(4))
    assert caught.value.faults[0].code == "TW-TRAIN-009"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best-00000003"]
    assert checkpoints.best(3).step == 3
