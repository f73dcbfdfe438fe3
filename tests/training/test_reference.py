import numpy as np
import pytest
import torch

from tests.training.runs import make_loop, rows_for
from tuneward.errors import TrainingError
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.reference import Stopped, add_reference


@pytest.fixture
def rows(base, tmp_path):
    return rows_for(base, tmp_path, "dpo", 17)


def start(base, rows, folder, *, zero=False):
    """A loop whose starting adapter changes the model."""
    loop, layers = make_loop(base, rows, folder, method="dpo", adapter={"rank": 4, "dropout": 0.5})
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.0 if zero else 0.2, generator=torch.Generator().manual_seed(5))
    return loop


def ask(loop, folder, **changed):
    seen = []
    settings = {"made_from": ["start"], "window_tokens": 200, "stop": lambda: False, "told": seen.append}
    calls = []

    def compute(numbers):
        calls.append(numbers)
        return loop.look(numbers)

    add_reference(loop.rows, compute, folder=folder, **(settings | changed))
    return calls, seen


def test_is_that_of_the_starting_adapter_and_not_of_the_bare_base(base, rows, tmp_path):
    loop = start(base, rows, tmp_path)
    calls, seen = ask(loop, tmp_path / "reference")
    assert len(calls) > 1
    assert seen[-1] == len(rows)
    bare = start(base, rows, tmp_path, zero=True)
    for number, row in enumerate(rows):
        for branch, found in zip(row.branches, rows.reference[number], strict=True):
            ids = torch.tensor(np.concatenate([row.ids, branch]), dtype=torch.int64).unsqueeze(0)
            layout = PackedDocuments((ids.shape[1],))
            values = []
            for model in (loop.model, bare.model):
                with torch.no_grad():
                    logits = model(ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits[0]
                scores = torch.log_softmax(logits[:-1], -1).gather(1, ids[0, 1:, None])[:, 0]
                values.append(float(scores[row.ids.size - 1 :].sum()))
            assert found == pytest.approx(values[0], rel=1e-5)
            assert abs(found - values[1]) > 1e-2
        assert row.reference == tuple(rows.reference[number])


def test_is_computed_once_for_the_same_rows_and_start(base, rows, tmp_path):
    loop = start(base, rows, tmp_path)
    ask(loop, tmp_path / "reference")
    before, rows.reference = rows.reference, None
    calls, seen = ask(loop, tmp_path / "reference")
    assert not calls
    assert seen == [len(rows)]
    assert np.array_equal(rows.reference, before)
    calls, _ = ask(loop, tmp_path / "reference", made_from=["another start"])
    assert calls
    assert len(list((tmp_path / "reference").iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-16],
        lambda data: b"",
        lambda data: data + b"\0" * 16,
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: b"0" * len(data),
    ],
    ids=["short", "empty", "long", "a bit turned", "zeros"],
)
def test_a_damaged_file_is_made_again(base, rows, tmp_path, damage):
    loop = start(base, rows, tmp_path)
    ask(loop, tmp_path / "reference")
    before = rows.reference
    (file,) = (tmp_path / "reference").iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    calls, _ = ask(loop, tmp_path / "reference")
    assert calls
    assert np.array_equal(rows.reference, before)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("after", [0, 1, 2])
def test_stopped_in_the_middle_nothing_is_kept(base, rows, tmp_path, after):
    loop = start(base, rows, tmp_path)
    asked = iter([False] * after)
    with pytest.raises(Stopped):
        ask(loop, tmp_path / "reference", stop=lambda: next(asked, True))
    assert rows.reference is None
    assert not list(tmp_path.glob("reference/*"))
    ask(loop, tmp_path / "reference")
    assert np.isfinite(rows.reference).all()


def test_what_is_not_finite_is_refused_and_names_the_rows(base, rows, tmp_path):
    loop = start(base, rows, tmp_path)
    with torch.no_grad():
        loop.model.get_output_embeddings().weight[int(rows[3].branches[0][0])] = float("nan")
    with pytest.raises(TrainingError) as caught:
        ask(loop, tmp_path / "reference", window_tokens=1)
    (fault,) = caught.value.faults
    assert fault.code == "TW-TRAIN-007"
    assert "rec_0000" in fault.message
    assert not list(tmp_path.glob("reference/*"))
