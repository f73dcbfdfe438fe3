"""The export process: one JSON object a line, figures or faults at the end, no longer alive than who started it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.modeling.export_cases import write_site
from tests.tiny import make_tiny_base
from tuneward.modeling import llama_cpp

MODULE = "tuneward.modeling.export"


def arguments(site: dict[str, Path], **options: str) -> list[str]:
    given = {name: str(path) for name, path in site.items()}
    given |= {"format": "safetensors", "precision": "fp32", "most-rows": "64", "most-tokens": "2048"} | options
    return [sys.executable, "-m", MODULE, *(text for name, value in given.items() for text in (f"--{name}", value))]


def run(site: dict[str, Path], **options: str) -> tuple[int, list[dict]]:
    done = subprocess.run(arguments(site, **options), capture_output=True, text=True)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_safetensors_copy_is_written_and_measured(tmp_path):
    site = write_site(tmp_path)
    code, events = run(site, type="bf16")
    assert code == 0
    assert [event["event"] for event in events].count("advance") == 12
    figures = events[-1]["figures"]
    assert figures["reader"] == "transformers"
    assert figures["rows"] == 6
    assert 0 < figures["mean_kl"] < 0.01
    assert AutoModelForCausalLM.from_pretrained(site["into"]).dtype == torch.bfloat16
    assert list(site["scratch"].iterdir()) == []


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_a_gguf_copy_is_measured_by_whoever_can_read_it(tmp_path, architecture):
    site = write_site(tmp_path, architecture=architecture)
    code, events = run(site, format="gguf", type="f16")
    assert code == 0, events
    figures = events[-1]["figures"]
    assert ("llama.cpp" if llama_cpp.installed() else "dequantised") in figures["reader"]
    assert figures["mean_kl"] < 1e-4
    assert [file.name for file in site["into"].iterdir()] == ["model.gguf"]


def test_a_gguf_copy_is_read_back_where_llama_cpp_is_absent(tmp_path):
    site = write_site(tmp_path)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['llama_cpp'] = None\n")
    path = os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    hidden = "import importlib.util as u, sys; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'llama_cpp' "
    hidden += f"else f(n, *a); from {MODULE} import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", hidden, *arguments(site, format="gguf", type="q8_0")[3:]]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert "dequantised" in figures["reader"]
    assert figures["rows_read_alike"] is None
    assert figures["mean_kl"] < 0.02


@pytest.mark.parametrize("format", ["safetensors", "gguf"])
def test_a_fully_trained_model_leaves_with_the_bases_tokenizer(tmp_path, format):
    site = write_site(tmp_path)
    trained = make_tiny_base(tmp_path / "trained", seed=9)
    for file in trained.iterdir():
        if file.name not in {"config.json", "model.safetensors", "generation_config.json"}:
            file.unlink()
    code, events = run(site | {"adapter": trained}, format=format, **({"type": "f16"} if format == "gguf" else {}))
    assert code == 0, events
    assert events[-1]["figures"]["same"] == events[-1]["figures"]["tokens"]
    assert (site["into"] / ("model.gguf" if format == "gguf" else "chat_template.jinja")).is_file()


def test_faults_come_as_they_are_and_no_rows_are_a_fault(tmp_path):
    gemma2 = write_site(tmp_path / "gemma2", architecture="gemma2")
    code, events = run(gemma2, format="gguf", type="f16")
    assert code == 4
    assert [fault["code"] for fault in events[-1]["faults"]] == ["TW-BASE-061"]
    assert list(gemma2["into"].iterdir()) == []
    site = write_site(tmp_path / "llama")
    site["rows"].write_text("")
    code, events = run(site)
    assert (code, events[-1]["faults"][0]["code"]) == (4, "TW-REG-011")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once(tmp_path, end):
    process = subprocess.Popen(arguments(write_site(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(end)
    assert process.wait(timeout=30) == 130


def test_it_ends_with_whoever_started_it(tmp_path):
    site = write_site(tmp_path)
    script = (
        "import subprocess, sys, os, time\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nos.kill(child.pid, 19)\n"  # stopped, so that it cannot finish before
        "print(child.pid, flush=True)\nos.kill(child.pid, 18)\nos._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments(site)], capture_output=True, text=True, timeout=120)
    child = int(done.stdout.split()[0])
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("it still runs")
