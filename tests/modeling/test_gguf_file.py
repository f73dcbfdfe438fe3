"""GGUF files: transformers' own reader and llama.cpp both say what the merged model says, for every architecture."""

import json
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM

from tests.modeling.llama_cpp_cases import needs_llama_cpp
from tests.modeling.test_merge import IDS, random_adapter
from tests.tiny import make_tiny_base
from tuneward.errors import ModelError, StorageError
from tuneward.modeling.agreement import HeldOut
from tuneward.modeling.conversion import convert_gguf
from tuneward.modeling.gguf_file import read_back, write_gguf
from tuneward.modeling.gguf_metadata import query_factor
from tuneward.modeling.llama_cpp import LlamaCpp
from tuneward.modeling.merge import Merged

ROPE: dict[str, Any] = {"rope_theta": 10000.0}
LLAMA3 = ROPE | {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = ROPE | {"rope_type": "longrope", "long_factor": [2.0] * 8, "short_factor": [1 + i / 8 for i in range(8)]}

#: Name → architecture and settings: each architecture as it is, and what changes how positions or biases are written.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, untied": ("llama", {"tie_word_embeddings": False}),
    "llama 3": ("llama", {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 64}}),
    "llama, linear": ("llama", {"rope_parameters": ROPE | {"rope_type": "linear", "factor": 2.0}}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "mistral": ("mistral", {"sliding_window": None}),
    "phi3": ("phi3", {"original_max_position_embeddings": 512}),
    "phi3, long": ("phi3", {"original_max_position_embeddings": 64, "rope_parameters": LONG}),
    "gemma3": ("gemma3_text", {}),
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def merged(request, tmp_path_factory):
    architecture, settings = MODELS[request.param]
    base = make_tiny_base(tmp_path_factory.mktemp("base") / "base", architecture=architecture, **settings)
    return Merged(base, random_adapter(base))


@pytest.fixture(scope="module")
def expected(merged, tmp_path_factory) -> torch.Tensor:
    into = tmp_path_factory.mktemp("merged")
    merged.save(into)
    return logits_of(into)


def logits_of(folder) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits[0]


@pytest.mark.parametrize(("kind", "tolerance"), [("f16", 0.01), ("bf16", 0.08), ("q8_0", 0.25)])
def test_transformers_reads_the_same_model_from_the_file(merged, expected, tmp_path, kind, tolerance):
    write_gguf(merged, tmp_path / "model.gguf", kind)
    (tmp_path / "back").mkdir()
    read_back(tmp_path / "model.gguf", merged.base, tmp_path / "back")
    torch.testing.assert_close(logits_of(tmp_path / "back"), expected, atol=tolerance, rtol=0)


@needs_llama_cpp
@pytest.mark.parametrize(("kind", "tolerance"), [("f16", 0.02), ("bf16", 0.1), ("q8_0", 0.3)])
def test_llama_cpp_computes_the_same(merged, expected, tmp_path, kind, tolerance):
    write_gguf(merged, tmp_path / "model.gguf", kind)
    ids = IDS[0].tolist()
    (said,) = LlamaCpp(tmp_path / "model.gguf", context=64).said([HeldOut(tuple(ids), tuple(range(len(ids))), "")])
    torch.testing.assert_close(said, expected, atol=tolerance, rtol=0)
    if kind == "f16":
        assert said.argmax(-1).tolist() == expected.argmax(-1).tolist()


@needs_llama_cpp
def test_llama_cpp_writes_the_same_tokens_greedily(tmp_path):
    base = make_tiny_base(tmp_path / "base")
    merged, into = Merged(base, random_adapter(base)), tmp_path / "merged"
    into.mkdir()
    merged.save(into)
    write_gguf(merged, tmp_path / "model.gguf", "f16")
    model = AutoModelForCausalLM.from_pretrained(into, dtype=torch.float32)
    with torch.no_grad():
        written = model.generate(IDS, max_new_tokens=24, min_new_tokens=24, do_sample=False)[0, IDS.shape[1] :]
    assert LlamaCpp(tmp_path / "model.gguf", context=128).answer(IDS[0].tolist(), tokens=24)[:8] == written.tolist()[:8]


def test_our_own_reader_gives_back_weights_tokenizer_and_template(tmp_path):
    base, back = make_tiny_base(tmp_path / "base"), tmp_path / "back"
    merged = Merged(base, random_adapter(base))
    write_gguf(merged, tmp_path / "model.gguf", "bf16", name="tiny", licence="MIT")
    back.mkdir()
    convert_gguf(tmp_path / "model.gguf", back)
    (tmp_path / "merged").mkdir()
    merged.save(tmp_path / "merged", kept="bf16")
    assert torch.equal(logits_of(back), logits_of(tmp_path / "merged"))
    assert (back / "chat_template.jinja").read_text() == (base / "chat_template.jinja").read_text()
    before, after = (json.loads((f / "tokenizer.json").read_text())["model"] for f in (base, back))
    assert before["vocab"].items() <= after["vocab"].items()
    assert after["merges"] == before["merges"]


def test_the_same_model_gives_the_same_bytes_and_vectors_stay_exact(tmp_path):
    base = make_tiny_base(tmp_path / "base")
    merged = Merged(base, random_adapter(base))
    for name in ("one.gguf", "two.gguf"):
        write_gguf(merged, tmp_path / name, "q8_0")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "one.gguf").tensors}
    assert {kind for name, kind in kinds.items() if "norm" in name} == {"F32"}
    assert {kind for name, kind in kinds.items() if "norm" not in name} == {"Q8_0"}


def test_rows_that_no_block_fits_stay_in_sixteen_bits(tmp_path):
    base = make_tiny_base(tmp_path / "base", hidden_size=40, intermediate_size=96, num_attention_heads=2)
    write_gguf(Merged(base, None), tmp_path / "model.gguf", "q8_0")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    assert (kinds["blk.0.ffn_up.weight"], kinds["blk.0.ffn_down.weight"]) == ("F16", "Q8_0")


def test_a_window_that_llama_cpp_does_not_know_limits_the_context(tmp_path):
    base = make_tiny_base(tmp_path / "base", architecture="mistral")
    assert write_gguf(Merged(base, None), tmp_path / "model.gguf", "f16") == 9


def test_gemma_3_27b_scales_attention_by_the_hidden_size():
    small = {"query_pre_attn_scalar": 256, "head_dim": 256, "num_hidden_layers": 26, "hidden_size": 1152}
    large = {"query_pre_attn_scalar": 168, "head_dim": 128, "num_hidden_layers": 62, "hidden_size": 5376}
    assert query_factor(small | {"num_attention_heads": 4}) == 1.0
    assert query_factor(large | {"num_attention_heads": 32}) == 1.0


@pytest.mark.parametrize(
    ("architecture", "settings", "told"),
    [
        ("gemma2", {}, "architecture gemma2"),
        ("qwen3_moe", {}, "architecture qwen3_moe"),
        ("llama", {"rope_parameters": ROPE | {"rope_type": "dynamic", "factor": 2.0}}, "scaled by dynamic"),
        ("llama", {"hidden_act": "relu"}, "with relu"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused_and_nothing_is_written(tmp_path, architecture, settings, told):
    base = make_tiny_base(tmp_path / "base", architecture=architecture, **settings)
    with pytest.raises(ModelError, match=told) as caught:
        write_gguf(Merged(base, None), tmp_path / "model.gguf", "f16")
    assert {fault.code for fault in caught.value.faults} == {"TW-BASE-061"}
    assert not (tmp_path / "model.gguf").exists()


def test_too_little_room_is_refused_before_a_byte_is_written(tmp_path, monkeypatch):
    base = make_tiny_base(tmp_path / "base")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(StorageError, match="are needed"):
        write_gguf(Merged(base, None), tmp_path / "model.gguf", "f16")
    assert not (tmp_path / "model.gguf").exists()
