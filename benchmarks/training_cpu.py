"""Supervised fine-tuning with LoRA on a CPU: Tuneward against a plain loop of transformers and PEFT, in one process.

Both train the same rows (about 250 tokens, loss on the last 90), rank 16 on all linear layers, in bf16, step by step
in turn, so that the machine's moods fall on both. A third measure runs in the same turn: the matrix products of a step
that no implementation can avoid, alone. Prints tokens/s, the share of those products in our step, and the ratio last.

    python benchmarks/training_cpu.py BASE_FOLDER [--rounds 3]
"""

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tuneward.modeling.base_model import load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.fused import fuse
from tuneward.modeling.lora import LoraLinear, add_lora
from tuneward.settings import silence
from tuneward.training.allocator import keep_freed_memory, peak_bytes
from tuneward.training.batches import Row, plan_steps
from tuneward.training.checkpoint import Checkpoints
from tuneward.training.config import TrainingConfig
from tuneward.training.loop import Loop

TOKENS, TRAINED, SPREAD, PEER_BATCH = 250, 90, 60, 8


def make_rows(count: int, vocabulary: int) -> list[Row]:
    draw = np.random.default_rng(0)
    rows = []
    for number in range(count):
        ids = draw.integers(0, vocabulary, int(np.clip(draw.normal(TOKENS, SPREAD), 120, 420))).astype(np.int32)
        rows.append(Row(f"r{number}", ids, np.where(np.arange(ids.size) >= ids.size - TRAINED, ids, -100)))
    return rows


def make_ours(base: Path, rows: list[Row]) -> Loop:
    model = load_base(base, precision="bf16")
    fuse(model)
    config = TrainingConfig(precision="bf16")
    layers = add_lora(model, AdapterConfig(rank=16, alpha=32), seed=0)
    steps = plan_steps(rows, epochs=50, batch_tokens=config.batch_tokens, window_tokens=config.window_tokens, seed=0)
    return Loop(
        model,
        layers,
        rows=rows,
        steps=steps,
        config=config,
        checkpoints=Checkpoints(Path("unused"), ""),
        emit=lambda event: None,
        stop=lambda: False,
    )


def our_step(loop: Loop) -> tuple[int, float]:
    step = loop.steps[loop.done]
    started = time.perf_counter()
    loop._step(step)
    loop.done += 1
    return step.tokens, time.perf_counter() - started


def make_peer(base: Path):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, attn_implementation="sdpa")
    wanted = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, wanted).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    return model, torch.optim.AdamW(trained, lr=1e-3, fused=True)


def peer_step(model, optimizer, rows: list[Row]) -> tuple[int, float]:
    started = time.perf_counter()
    longest = max(row.ids.size for row in rows)
    ids, labels = np.zeros((len(rows), longest), np.int64), np.full((len(rows), longest), -100, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for place, row in enumerate(rows):
        ids[place, : row.ids.size], labels[place, : row.ids.size], mask[place, : row.ids.size] = row.ids, row.labels, 1
    tensors = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    loss = model(**{name: torch.from_numpy(value) for name, value in tensors.items()}, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return sum(row.ids.size for row in rows), time.perf_counter() - started


def bare_products(loop: Loop) -> tuple[int, float]:
    """Forward and input-gradient products of every frozen layer and of the head, and nothing else."""
    step = loop.steps[loop.done]
    model, tokens = loop.model, step.tokens
    weights = [m.base.weight for m in model.modules() if isinstance(m, LoraLinear)]
    inputs = {n: torch.randn(tokens, n, dtype=torch.bfloat16) for w in weights for n in w.shape}
    head, hidden = loop.head.weight, torch.randn(step.trained, loop.head.weight.shape[1], dtype=torch.bfloat16)
    started = time.perf_counter()
    with torch.no_grad():
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)
            torch.mm(inputs[weight.shape[0]], weight)
        for part in hidden.split(128):
            torch.mm(torch.nn.functional.linear(part, head), head)
    return tokens, time.perf_counter() - started


def main() -> None:
    silence()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peer", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    loop = make_ours(options.base, make_rows(64, 49000))
    peer = None if options.without_peer else make_peer(options.base)
    speeds: dict[str, list[float]] = {"ours": [], "peer": [], "products": []}
    for turn in range(options.rounds + 1):
        tokens, products = bare_products(loop)
        ours_tokens, ours = our_step(loop)
        told = (
            f"ours {ours_tokens / ours:6.0f} tokens/s, products alone {tokens / products:6.0f} ({products / ours:.0%})"
        )
        if turn == 0:
            ours_peak = peak_bytes("cpu")
        if peer is not None:
            peer_tokens, peers = peer_step(*peer, loop.rows[turn * PEER_BATCH : (turn + 1) * PEER_BATCH])
            told += f", transformers+PEFT {peer_tokens / peers:6.0f}"
        if turn:  # the first turn warms up
            speeds["ours"].append(ours_tokens / ours)
            speeds["products"].append(tokens / products)
            if peer is not None:
                speeds["peer"].append(peer_tokens / peers)
            print(told, flush=True)
    share = median(o / p for o, p in zip(speeds["ours"], speeds["products"], strict=True))
    print(f"median: ours {median(speeds['ours']):.0f} tokens/s, peak {ours_peak / 2**30:.2f} GiB; products {share:.0%}")
    if peer is not None:
        ratio = median(o / p for o, p in zip(speeds["ours"], speeds["peer"], strict=True))
        print(f"peak with the peer {peak_bytes('cpu') / 2**30:.2f} GiB")
        print(f"ratio ours / transformers+PEFT: {ratio:.2f}")


if __name__ == "__main__":
    main()
