"""Tokenizers in GGUF: llama.cpp cuts texts as the model's own tokenizer does, or the file is not written."""

import json
from pathlib import Path

import pytest
from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tests.modeling.llama_cpp_cases import needs_llama_cpp
from tests.tiny import SPECIALS, make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.conversion import COMPOSED, PRE_TOKENIZERS, WHOLE_WORDS, build_tokenizer, read_fields
from tuneward.modeling.gguf_file import write_gguf
from tuneward.modeling.gguf_tokenizer import PROBE
from tuneward.modeling.llama_cpp import LlamaCpp
from tuneward.modeling.merge import Merged

TEXTS = (
    "The answer is 42, isn't it?",
    "  two blanks   three\tand a tab\n\n\nlines \n x 1234567 12.5%",
    "HE'LL we'Re I'M naïve Ωμέγα 東京 🙂 a_b-c@d.e {\"k\": [1, 23]}",
    "<|im_start|>user\nWhat is the the then?<|im_end|>\n<|im_start|>assistant\n",
    PROBE,
)
CORPUS = [
    *TEXTS,
    "the then there other thing in on an and 1 22 333 4444 it's we're the answer is a question of time " * 3,
]


def write_tokenizer(base: Path, tokenizer: Tokenizer) -> None:
    """Put a tokenizer in the place of the base's own."""
    tokenizer.save(str(base / "tokenizer.json"))
    names = {"bos_token": SPECIALS[1], "eos_token": SPECIALS[2], "pad_token": SPECIALS[0]}
    (base / "tokenizer_config.json").write_text(json.dumps(names | {"tokenizer_class": "PreTrainedTokenizerFast"}))


def byte_level(pre: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=sorted(alphabet), special_tokens=list(SPECIALS), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    described = json.loads(tokenizer.to_str())
    described["model"]["ignore_merges"] = pre in WHOLE_WORDS
    tokenizer = Tokenizer.from_str(json.dumps(described))
    if pre in COMPOSED:
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def sentence_pieces(*, prefix: bool) -> Tokenizer:
    """As Llama 2 (``prefix``) and Gemma have it: blanks are ▁, unknown characters fall back on bytes."""
    steps = [normalizers.Replace(" ", "▁")]
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), *steps] if prefix else steps)
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = normalizer
    bytes_of_all = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<unk>", *SPECIALS, *bytes_of_all], show_progress=False
    )
    learner.train_from_iterator([line for text in CORPUS for line in text.split(" ")], trainer)
    model = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizer
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in ("<unk>", *SPECIALS)])
    return tokenizer


def written(tmp_path: Path, tokenizer: Tokenizer) -> tuple[Path, Tokenizer]:
    base = make_tiny_base(tmp_path / "base", vocab_size=448)
    write_tokenizer(base, tokenizer)
    write_gguf(Merged(base, None), tmp_path / "model.gguf", "f16")
    return tmp_path / "model.gguf", tokenizer


@pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
def test_a_pre_tokenizer_is_known_by_what_it_does_and_comes_back(tmp_path, pre):
    file, tokenizer = written(tmp_path, byte_level(pre))
    fields = read_fields(file)
    assert fields["tokenizer.ggml.pre"] == pre
    again = build_tokenizer(fields, place="model.gguf")
    for text in TEXTS:
        assert again.encode(text).ids == tokenizer.encode(text).ids


def test_the_probe_tells_all_pre_tokenizers_apart():
    cuts = [tuple(make().pre_tokenize_str(PROBE)) for make in PRE_TOKENIZERS.values()]
    assert len(set(cuts)) == len(cuts)


@needs_llama_cpp
@pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
def test_llama_cpp_cuts_byte_level_texts_as_we_do(tmp_path, pre):
    file, tokenizer = written(tmp_path, byte_level(pre))
    model = LlamaCpp(file, context=64)
    for text in TEXTS:
        assert model.reads(text) == tokenizer.encode(text, add_special_tokens=False).ids, text


@needs_llama_cpp
@pytest.mark.parametrize("prefix", [True, False])
def test_llama_cpp_cuts_sentence_pieces_as_we_do(tmp_path, prefix):
    file, tokenizer = written(tmp_path, sentence_pieces(prefix=prefix))
    model = LlamaCpp(file, context=64)
    for text in TEXTS:
        assert model.reads(text) == tokenizer.encode(text, add_special_tokens=False).ids, text


def test_names_and_ends_are_those_of_the_chat(tmp_path):
    fields = read_fields(written(tmp_path, byte_level("gpt-2"))[0])
    ids = {name: fields[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "padding")}
    assert ids == {"bos": 1, "eos": 2, "padding": 0}
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert "im_start" in fields["tokenizer.chat_template"]
    kinds = fields["tokenizer.ggml.token_type"]
    assert kinds[:4] == [3, 3, 3, 1]
    assert len(kinds) == 448
    assert kinds[-1] == 5, "ids that the tokenizer never gives are unused"


def test_an_end_of_turn_beside_the_end_of_text_is_told(tmp_path):
    base = make_tiny_base(tmp_path / "base")
    settings = json.loads((base / "tokenizer_config.json").read_text()) | {"eos_token": SPECIALS[0]}
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    write_gguf(Merged(base, None), tmp_path / "model.gguf", "f16")
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "model.gguf").fields.items()}
    assert (fields["tokenizer.ggml.eos_token_id"], fields["tokenizer.ggml.eot_token_id"]) == (0, 2)


def strange_cut() -> Tokenizer:
    tokenizer = byte_level("gpt-2")
    cut = pre_tokenizers.Split(Regex("e"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


def rewriting() -> Tokenizer:
    tokenizer = byte_level("gpt-2")
    tokenizer.normalizer = normalizers.NFKC()
    return tokenizer


@pytest.mark.parametrize(("make", "told"), [(strange_cut, "cuts texts as none"), (rewriting, "rewrites texts")])
def test_a_tokenizer_that_llama_cpp_lacks_is_refused_with_a_cure(tmp_path, make, told):
    with pytest.raises(ModelError, match=told) as caught:
        written(tmp_path, make())
    (fault,) = caught.value.faults
    assert (fault.code, "safetensors" in fault.cure) == ("TW-BASE-061", True)
    assert not (tmp_path / "model.gguf").exists()
