"""Tiny random base models for tests: a complete Hugging Face folder in well under a second, the same bits every time.

Place on the road: before ``modeling``; stands in for what ``pull`` leaves. Knows nothing about Tuneward's own code.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import AutoConfig

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = (END_OF_TEXT, TURN_START, TURN_END)

#: Ġ is the byte-level alphabet's blank. A few merges, so that text boundaries can join tokens as in real tokenizers.
MERGES = (
    *(("t", "h"), ("th", "e"), ("i", "n"), ("e", "r"), ("a", "n"), ("an", "d"), ("o", "n"), ("r", "e"), ("Ġ", "the")),
    *(("Ġ", "a"), ("Ġ", "t"), ("Ġ", "in"), ("e", "n"), ("o", "u"), ("in", "g"), ("e", "s"), ("a", "t"), ("o", "r")),
    *(("u", "s"), ("us", "er"), ("a", "s"), ("s", "t"), ("as", "s"), ("l", "l"), ("i", "s"), ("Ġ", "is"), ("Ġ", "{")),
    *(('"', ":"), ('Ġ"', "a"), ("Ġ", '"'), ("Ċ", "Ċ")),
)

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}

#: What each architecture adds to ``COMMON``. Windows are shorter than the tests' rows, so that they are felt.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "mistral": {"sliding_window": 9, "tie_word_embeddings": False},
    "phi3": {"tie_word_embeddings": False},
    "gemma2": {
        "head_dim": 16,
        "sliding_window": 9,
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 10.0,
    },
    "gemma3_text": {"head_dim": 16, "sliding_window": 9, "query_pre_attn_scalar": 24, "num_hidden_layers": 7},
    "qwen3_moe": {
        "head_dim": 16,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "decoder_sparse_step": 1,
    },
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": False},
}

#: Further mixtures: stacks that are (in, out); an expert for every token, with a gate; a router that is a linear layer
#: by class; experts behind a plain layer.
MIXTURES: dict[str, dict[str, Any]] = {
    "aria_text": {"moe_num_experts": 4, "moe_topk": 2, "moe_num_shared_experts": 1},
    "qwen2_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 48,
        "decoder_sparse_step": 1,
    },
    "phimoe": {"num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": False},
    "glm4_moe": {
        "head_dim": 16,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
    },
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML's special tokens: every text has ids and comes back unchanged."""
    vocabulary = {token: index for index, token in enumerate(SPECIALS)}
    for token in (*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in _merges())):
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=_merges()))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=TURN_START,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def _merges() -> list[tuple[str, str]]:
    alphabet, known, merges = set(pre_tokenizers.ByteLevel.alphabet()), set(), []
    for left, right in MERGES:
        if all(part in alphabet or part in known for part in (left, right)):
            known.add(left + right)
            merges.append((left, right))
    return merges


def make_tiny_base(folder: Path, *, architecture: str = "llama", seed: int = 0, **overrides: Any) -> Path:
    """Write a tiny random base model and return its folder.

    Args:
        folder: created if missing; receives config, safetensors (fp32), tokenizer files and ``chat_template.jinja``.
        architecture: a key of ``ARCHITECTURES`` or ``MIXTURES`` (a ``model_type`` of transformers).
        seed: of the random weights; the same seed gives the same bytes.
        **overrides: settings of the architecture's config.
    """
    tokenizer = make_tokenizer()
    settings = COMMON | (ARCHITECTURES | MIXTURES)[architecture] | {"vocab_size": 304} | overrides
    config = AutoConfig.for_model(architecture, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    settings_file = folder / "tokenizer_config.json"
    kept = json.loads(settings_file.read_text(encoding="utf-8"))
    kept.pop("chat_template", None)
    settings_file.write_text(json.dumps(kept, indent=2), encoding="utf-8")
    return folder
