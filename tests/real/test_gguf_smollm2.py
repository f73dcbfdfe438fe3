"""A real small model in llama.cpp: base and adapter as one GGUF file, same tokens in, same tokens out.

SmolLM2-135M-Instruct is pulled as the quickstart pulls it; the adapter is random and small, so that the model still
writes text. Needs llama.cpp; about two minutes on two cores.
"""

from pathlib import Path

import pytest

from tests.modeling.export_cases import write_rows
from tests.modeling.llama_cpp_cases import needs_llama_cpp
from tests.modeling.test_merge import random_adapter
from tuneward.domain.record import Message
from tuneward.errors import ModelError
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.agreement import compare, held_out, keep_reference
from tuneward.modeling.base_model import load_base
from tuneward.modeling.chat import Chat
from tuneward.modeling.generate import generate
from tuneward.modeling.gguf_file import write_gguf
from tuneward.modeling.llama_cpp import LlamaCpp
from tuneward.modeling.merge import Merged
from tuneward.modeling.pull import pull

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800), needs_llama_cpp]

QUESTIONS = ("Name three colours.", "What is the capital of France?", "Write one sentence about the sea.")
ODD = ("  two   blanks\tand 1234567 12.5%\n\n\n naïve 東京 🙂 it's HE'LL", "<|im_start|>user\nhi<|im_end|>\n")


def test_smollm2_says_in_llama_cpp_what_base_and_adapter_say(tmp_path: Path) -> None:
    base, file = tmp_path / "base", tmp_path / "model.gguf"
    try:
        pull("smollm2-135m-instruct", base)
    except ModelError as error:
        pytest.skip(f"the catalogue's base cannot be fetched here: {error.faults[0].code}")
    weights, chat = random_adapter(base, size=0.002), Chat.load(base)
    write_gguf(Merged(base, weights), file, "f16")
    there = LlamaCpp(file, context=256)
    for text in ODD:
        assert there.reads(text) == chat.text_ids(text)

    rows = held_out(write_rows(tmp_path / "rows.jsonl", count=12), chat, rows=12, tokens=2048, context=256)
    keep_reference(base, weights, rows, tmp_path / "kept", precision="fp32")
    figures = compare(rows, tmp_path / "kept", there.said(rows))
    assert figures.same == figures.tokens
    assert figures.mean_kl < 1e-4

    model = load_base(base, precision="fp32")
    bank = AdapterBank(model)
    adapter = bank.load(weights)
    prompts = [chat.prompt_ids([Message("user", question)]) for question in QUESTIONS]
    ours = generate(model, prompts, max_tokens=12, bank=bank, adapters=[adapter] * len(prompts))
    assert [there.answer(prompt, tokens=12) for prompt in prompts] == ours
