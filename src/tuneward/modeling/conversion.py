"""Conversion: a GGUF file becomes a model folder with safetensors, tokenizer and chat template.

Place on the road: a step of ``pull``, walked once per base. Knows the GGUF format through ``gguf`` and transformers;
does not know where the file came from. The tokenizer is built here and not by transformers, which (5.23) leaves out the
pre-tokenizer that the file names in ``tokenizer.ggml.pre``: texts with digits after several spaces would get other
tokens than the model was trained with.
"""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tuneward.errors import Fault, ModelError

#: How Qwen 2 and Llama 3 cut text, but for how many digits stay together.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _cut_words(digits: str) -> Any:
    cut = pre_tokenizers.Split(Regex(_WORDS.format(digits=digits)), "isolated")
    return pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


#: ``tokenizer.ggml.pre`` → pre-tokenizer as in the models' own ``tokenizer.json`` (llama.cpp: src/llama-vocab.cpp).
PRE_TOKENIZERS: dict[str, Callable[[], Any]] = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "qwen2": lambda: _cut_words(""),
    "llama-bpe": lambda: _cut_words("{1,3}"),
}
#: Pre-tokenizers behind which a word that is a token stays whole, whatever the merges say; those behind a normal form.
WHOLE_WORDS, COMPOSED = frozenset({"llama-bpe"}), frozenset({"qwen2"})
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # gguf.TokenType
NAMED_TOKENS = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}


def convert_gguf(file: Path, into: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` (bf16), tokenizer, template and generation settings into ``into``.

    Args:
        file: a complete GGUF file with a tokenizer inside.
        into: an existing folder; files of these names are replaced.

    Raises:
        ModelError: the file is cut or foreign, its architecture or tokenizer is not supported, or weights are missing.
    """
    fields = read_fields(file)
    tokenizer = build_tokenizer(fields, place=file.name)
    template = fields.get("tokenizer.chat_template")
    if not template:
        raise ModelError(
            Fault("TW-BASE-021", "the GGUF file carries no chat template", file.name, "take an instruction-tuned model")
        )
    config = convert_weights(file, into)
    names = {
        name: fields["tokenizer.ggml.tokens"][fields[f"tokenizer.ggml.{key}_token_id"]]
        for name, key in NAMED_TOKENS.items()
        if f"tokenizer.ggml.{key}_token_id" in fields
    }
    tokenizer.save(str(into / "tokenizer.json"))
    _write_json(
        into / "tokenizer_config.json",
        {
            **names,
            "add_bos_token": bool(fields.get("tokenizer.ggml.add_bos_token", False)),
            "clean_up_tokenization_spaces": False,
            "model_max_length": config["max_position_embeddings"],
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    (into / "chat_template.jinja").write_text(template, encoding="utf-8")
    ids = {f"{name}_id": tokenizer.token_to_id(token) for name, token in names.items() if name != "unk_token"}
    _write_json(into / "generation_config.json", ids)


def read_fields(file: Path) -> dict[str, Any]:
    """Metadata of a GGUF file, after a check that every tensor lies inside it.

    Raises:
        ModelError: not GGUF, another version, or cut.
    """
    from gguf import GGUFReader

    damaged = "fetch the file again; its bytes are not a complete GGUF file"
    with file.open("rb") as handle:
        if handle.read(4) != b"GGUF":
            raise ModelError(Fault("TW-BASE-005", "does not begin as a GGUF file does", file.name, damaged))
    try:
        reader = GGUFReader(file)
        end = max(int(t.data_offset) + int(t.n_bytes) for t in reader.tensors)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except Exception as error:  # the reader raises whatever numpy meets in foreign bytes
        raise ModelError(
            Fault("TW-BASE-005", f"cannot be read as GGUF ({type(error).__name__})", file.name, damaged)
        ) from error
    if end > file.stat().st_size:
        raise ModelError(Fault("TW-BASE-005", "is cut: tensors lie beyond its end", file.name, damaged))
    return fields


def build_tokenizer(fields: dict[str, Any], *, place: str) -> Tokenizer:
    """The byte-level BPE tokenizer that a GGUF file describes.

    Raises:
        ModelError: another kind of tokenizer, or an unknown pre-tokenizer.
    """
    kind, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise ModelError(
            Fault(
                "TW-BASE-010",
                f"tokenizer {kind!r} with pre-tokenizer {pre!r} is not supported",
                place,
                "pull the same model from its hub as org/name@revision, in safetensors",
            )
        )
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in WHOLE_WORDS))
    if pre in COMPOSED:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    for token, token_kind in zip(tokens, kinds, strict=True):
        if token_kind == CONTROL:
            tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif token_kind == USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, special=False, normalized=False)])
    assert tokenizer.get_vocab_size() == len(tokens), "adding special tokens must not make new ids"
    return tokenizer


def convert_weights(file: Path, into: Path, *, config: Any = None, exact: bool = False) -> dict[str, Any]:
    """Write ``config.json`` and ``model.safetensors`` of a GGUF file into ``into``; returns the configuration.

    Args:
        file: a GGUF file.
        into: an existing folder.
        config: the configuration, of transformers; None for what the file says of it, which is less than some need.
        exact: weights in fp32, with every bit of the file's; else in bf16.

    Raises:
        ModelError: transformers cannot convert it, or weights are missing.
    """
    import numpy
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # the GGUF loader draws a bar that the switch above does not reach
            model, loading = AutoModelForCausalLM.from_pretrained(
                file.parent,
                gguf_file=file.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32 if exact else torch.bfloat16,
                local_files_only=True,
                output_loading_info=True,
                **({} if config is None else {"config": config}),
            )
    except (ValueError, KeyError, NotImplementedError) as error:
        cure = "pull the same model from its hub as org/name@revision, in safetensors"
        raise ModelError(Fault("TW-BASE-010", f"transformers cannot convert it: {error}", file.name, cure)) from error
    missing = sorted(set(loading["missing_keys"]) - set(model.all_tied_weights_keys))
    if missing:
        raise ModelError(
            Fault("TW-BASE-007", f"weights are missing: {', '.join(missing[:5])}", file.name, "take another file")
        )
    model.save_pretrained(into, max_shard_size="1TB")
    kept: dict[str, Any] = json.loads((into / "config.json").read_bytes())
    for key in (
        "_model_name_or_path",
        "transformers_version",
    ):  # the same file gives the same folder under each version
        kept.pop(key, None)
    for key, value in kept.items():  # GGUF keeps floats in 32 bits: 9.999999747378752e-06 was 1e-05
        if isinstance(value, float):
            kept[key] = float(str(numpy.float32(value)))
    _write_json(into / "config.json", kept)
    return kept


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
