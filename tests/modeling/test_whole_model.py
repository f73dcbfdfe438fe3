"""A whole trained model's folder is a base's folder: complete, tied, the same bytes for the same weights."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.base_model import load_base
from tuneward.modeling.folder_check import check_folder
from tuneward.modeling.pull import pull
from tuneward.modeling.whole_model import complete
from tuneward.training.trainable import FullTrainable


@pytest.fixture
def base(tmp_path):
    folder = make_tiny_base(tmp_path / "made")
    (folder / "LICENSE").write_text("terms\n")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "CHANGES.txt").write_text("Converted before.\n")
    (folder / "pytorch_model.bin").write_bytes(b"never copied")
    return pull(str(folder), tmp_path / "base").folder


def trained(base, folder, *, start=None):
    model = load_base(start or base, precision="bf16")
    trainable = FullTrainable(model)
    with torch.no_grad():
        for parameter in trainable.parameters.values():
            parameter.add_(0.01)
    trainable.publish()
    trainable.save(folder, base_name="b")
    complete(folder, base=start or base, base_name="b" * 64)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_can_be_pulled_again_and_the_same_weights_give_the_same_bytes(base, tmp_path):
    folder = trained(base, tmp_path / "one")
    assert contents(trained(base, tmp_path / "two")) == contents(folder)
    complete(folder, base=base, base_name="b" * 64)  # a run that is gone on with when it had finished
    assert contents(folder) == contents(tmp_path / "two")
    assert set(contents(folder)) == set(contents(base))
    assert pull(str(folder), tmp_path / "again").licence == "Apache-2.0"
    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    assert not torch.equal(plain.lm_head.weight, AutoModelForCausalLM.from_pretrained(base).lm_head.weight)


def test_each_further_training_is_noted(base, tmp_path):
    twice = trained(base, tmp_path / "two", start=trained(base, tmp_path / "one"))
    first, *further = (twice / "CHANGES.txt").read_text().splitlines()
    assert first == "Converted before."
    assert len(further) == 2
    assert str(tmp_path) not in (twice / "config.json").read_text() + (twice / "CHANGES.txt").read_text()


def test_what_is_not_whole_is_refused(base, tmp_path):
    folder = trained(base, tmp_path / "one")
    assert check_folder(folder).parameters > 0
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelError):
        complete(folder, base=base, base_name="b")
