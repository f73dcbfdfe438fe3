"""Losses against transformers' own logits, row by row; embeddings against a mean worked out by hand."""

import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.tiny import make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.base_model import load_base
from tuneward.modeling.embedding import Embedder
from tuneward.modeling.likelihood import losses


def test_the_loss_of_a_row_is_that_of_the_row_alone(tmp_path):
    model = load_base(make_tiny_base(tmp_path / "base"), precision="fp32")
    generator = torch.Generator().manual_seed(1)
    rows = []
    for size in (5, 40, 300, 900, 1500):
        ids = torch.randint(3, 200, (size,), generator=generator).tolist()
        rows.append((ids, [-100 if place % 3 == 0 else token for place, token in enumerate(ids)]))
    rows.append(([5, 6, 7], [-100] * 3))
    told = losses(model, rows)
    assert math.isnan(told[-1])
    assert losses(model, rows[::-1])[1:] == pytest.approx(told[:-1][::-1], abs=1e-5)
    assert losses(model, []) == []
    model.set_attn_implementation("eager")
    for (ids, labels), loss in zip(rows[:3], told, strict=False):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1]
        wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), ignore_index=-100)
        assert loss == pytest.approx(float(wanted), abs=2e-4)


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    words = ["[PAD]", "[UNK]", *["the", "claim", "was", "paid", "in", "full", "today", "and", "not"]]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_an_embedding_is_the_mean_of_its_tokens_and_of_length_one(sentence_model):
    embedder = Embedder(sentence_model)
    texts = ["the claim was paid", "paid", "the claim was paid in full today and not paid", "paid"]
    vectors = embedder.embed(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0] * 4, abs=1e-6)
    assert np.allclose(vectors[1], vectors[3], atol=1e-6)
    model = BertModel.from_pretrained(sentence_model).eval()
    with torch.inference_mode():
        mean = model(torch.tensor([[2, 3, 4, 5]])).last_hidden_state[0].mean(dim=0)
    assert np.allclose(vectors[0], torch.nn.functional.normalize(mean, dim=0).numpy(), atol=1e-5)
    assert embedder.embed([]).shape == (0, 16)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="TW-BASE-060"):
        Embedder(tmp_path)
