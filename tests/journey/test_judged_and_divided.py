"""Preparing one pile of rows with everything that quality and split can be asked for, on the tiny base."""

import json
import random
from pathlib import Path

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.domain.dataset import RecordEntry
from tuneward.storage.repository import find
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.workspace import open_workspace

pytestmark = pytest.mark.journey


def make_sentence_model(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "test", "red", "blue", "green"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)


def test_one_pile_is_judged_by_the_base_and_divided(tmp_path: Path) -> None:
    settings = yaml.safe_load(SETTINGS)
    del settings["data"]["test"]
    settings["data"] |= {
        "quality": {"perplexity": True, "embeddings": "sentences"},
        "split": {"test_share": 0.1, "reserve_share": 0.1, "canaries": [1, 4], "canaries_each": 2},
    }
    folder = make_project(tmp_path / "project", settings=yaml.safe_dump(settings))
    words = ("otter", "copper", "violin", "harbour", "saddle", "meadow", "lantern", "thistle", "gravel", "pepper")
    draw = random.Random(3)
    lines = [
        {"customer": f"c{n}", "prompt": " ".join(draw.sample(words, 6)), "answer": {"kind": "ok"}} for n in range(90)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    make_sentence_model(folder / "sentences")
    init(folder, actor="ada")
    workspace = open_workspace(folder, actor="ada")
    pull(workspace.office, workspace.project.base, beside=folder)
    result = prepare(workspace)
    tree = workspace.site.artifacts.tree(result.dataset.tree)
    rows = {name: (tree / f"{name}.jsonl").read_bytes().splitlines() for name in ("train", "test", "reserve")}
    assert result.dataset.test_rows == len(rows["test"]) > 0
    assert rows["reserve"]
    card = json.loads((tree / "card.json").read_text(encoding="utf-8"))
    assert card["counts"]["semantic_duplicates"] is not None
    assert card["quality"]["embedding_spread"] is not None
    assert len((tree / "canaries.jsonl").read_bytes().splitlines()) == 4
    with workspace.site.database.read() as connection:
        entries = find(connection, RecordEntry, dataset=result.dataset.id)
    assert {entry.split for entry in entries} == {"train", "test", "reserve"}
    assert len(entries) == sum(map(len, rows.values()))
    assert prepare(workspace).reused
