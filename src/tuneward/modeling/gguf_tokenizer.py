"""The tokenizer of a model folder in a GGUF file's fields, or the reason why llama.cpp could not read text as it does.

Place on the road: one half of ``gguf_file``; ``conversion`` reads the byte-level kind back. Two kinds are told:
byte-level BPE, where the pre-tokenizer must be one that llama.cpp knows by name, and SentencePiece-like BPE with bytes
to fall back on, where llama.cpp merges by score. A kind is known by what it does to a text made for that.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType
from tokenizers import Tokenizer

from tuneward.domain.record import Message
from tuneward.errors import Fault, ModelError
from tuneward.modeling.chat import Chat
from tuneward.modeling.conversion import NAMED_TOKENS, PRE_TOKENIZERS, WHOLE_WORDS
from tuneward.modeling.folder_check import read_json

#: Text on which every pre-tokenizer that llama.cpp knows by name cuts differently.
PROBE = (
    "It's HE'LL we'Re 3 33 333 3333 12.5%, x1y22z333  two   three\t\ttabs \n \n\nlines\r\n  end... ?! --==`` \"'q'\" "
    'naïve Ωμέγα приклад 東京タワー กําลัง 🙂👩‍👩‍👧 a_b-c@d.e/f {"k": [1, 23]}\n\n\n  \n x'
)
BLANK = "▁"
CURE = "export as safetensors; or serve the adapter with Tuneward, which needs no GGUF"


def write_tokenizer(writer: GGUFWriter, folder: Path, *, rows: int) -> None:
    """Write tokens, kinds, merges or scores, named tokens and the chat template.

    Args:
        writer: not yet written to a file.
        folder: the model's folder, whose chat was proven when it was pulled.
        rows: of the embedding; ids that the tokenizer never gives are filled with unused tokens.

    Raises:
        ModelError: llama.cpp has no such tokenizer.
    """
    chat, config = Chat.load(folder), read_json(folder / "tokenizer_config.json")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    described = json.loads(tokenizer.to_str())
    model = described["model"]
    if model["type"] != "BPE":
        raise ModelError(_refusal(f"a tokenizer of type {model['type']}"))
    added = _added(described, config)
    tokens, kinds = _tokens(model, added, rows=rows)
    merges = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    if model.get("byte_fallback"):
        _sentence_pieces(writer, described, tokens, kinds, merges)
    else:
        _byte_level(writer, tokenizer, described)
        writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    _named_tokens(writer, chat, config, {token: number for number, token in enumerate(tokens)})
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))


def _added(described: Mapping[str, Any], config: Mapping[str, Any]) -> dict[int, tuple[str, bool]]:
    """Id → text and whether it is a control token, of every added token."""
    added = {int(number): token for number, token in (config.get("added_tokens_decoder") or {}).items()}
    added |= {token["id"]: token for token in described["added_tokens"]}
    return {number: (token["content"], bool(token.get("special"))) for number, token in added.items()}


def _tokens(
    model: Mapping[str, Any], added: Mapping[int, tuple[str, bool]], *, rows: int
) -> tuple[list[str], list[TokenType]]:
    tokens = [f"[PAD{number}]" for number in range(rows)]
    kinds = [TokenType.UNUSED] * rows
    for token, number in model["vocab"].items():
        tokens[number], kinds[number] = token, TokenType.NORMAL
    for number, (token, special) in added.items():
        tokens[number] = token if special else token.replace(BLANK, " ") if model.get("byte_fallback") else token
        kinds[number] = TokenType.CONTROL if special else TokenType.USER_DEFINED
    return tokens, kinds


def _byte_level(writer: GGUFWriter, tokenizer: Tokenizer, described: Mapping[str, Any]) -> None:
    normalizer = described.get("normalizer")
    if normalizer and normalizer["type"] != "NFC":  # texts are in that form already, but for rare ones
        raise ModelError(_refusal(f"a byte-level tokenizer that rewrites texts ({normalizer['type']})"))
    whole = bool(described["model"].get("ignore_merges"))
    cut = tokenizer.pre_tokenizer.pre_tokenize_str(PROBE) if tokenizer.pre_tokenizer else None
    for name, make in PRE_TOKENIZERS.items():
        if make().pre_tokenize_str(PROBE) == cut and (name in WHOLE_WORDS) == whole:
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre(name)
            return
    raise ModelError(_refusal("a byte-level tokenizer that cuts texts as none of " + ", ".join(PRE_TOKENIZERS)))


def _sentence_pieces(
    writer: GGUFWriter,
    described: Mapping[str, Any],
    tokens: list[str],
    kinds: list[TokenType],
    merges: list[tuple[str, ...]],
) -> None:
    """Tokens with scores: the earlier a merge, the higher the score of what it makes."""
    made: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        made.setdefault("".join(merge), rank)
    unknown = described["model"].get("unk_token")
    for number, token in enumerate(tokens):
        if kinds[number] is TokenType.NORMAL and _is_byte(token):
            kinds[number] = TokenType.BYTE
        elif token == unknown:
            kinds[number] = TokenType.UNKNOWN
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_scores([-float(made.get(token, 0)) for token in tokens])
    writer.add_add_space_prefix(_prepends(described))
    writer.add_remove_extra_whitespaces(False)


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _prepends(described: Mapping[str, Any]) -> bool:
    """Whether a blank is put before a text."""
    normalizer, cutter = described.get("normalizer") or {}, described.get("pre_tokenizer") or {}
    steps = [*normalizer.get("normalizers", [normalizer]), *cutter.get("pretokenizers", [cutter])]
    return any(
        step.get("type") == "Prepend" or (step.get("type") == "Metaspace" and step.get("prepend_scheme") != "never")
        for step in steps
    )


def _named_tokens(writer: GGUFWriter, chat: Chat, config: Mapping[str, Any], ids: Mapping[str, int]) -> None:
    add: dict[str, Any] = {
        "bos_token": writer.add_bos_token_id,
        "eos_token": writer.add_eos_token_id,
        "pad_token": writer.add_pad_token_id,
        "unk_token": writer.add_unk_token_id,
    }
    named = {}
    for name in NAMED_TOKENS:
        token = config.get(name)
        text = str(token["content"] if isinstance(token, dict) else token)
        if text in ids:
            named[name] = ids[text]
            add[name](ids[text])
    end = chat.example([Message("user", "question"), Message("assistant", "answer")]).ids[-1]
    if end != named.get("eos_token"):
        writer.add_eot_token_id(end)
    plain = chat.text_ids("a")
    writer.add_add_bos_token(plain[0] == named.get("bos_token"))
    writer.add_add_eos_token(len(plain) > 1 and plain[-1] == named.get("eos_token"))


def _refusal(what: str) -> Fault:
    return Fault("TW-BASE-061", f"llama.cpp has no name for {what}", "tokenizer.json", CURE)
