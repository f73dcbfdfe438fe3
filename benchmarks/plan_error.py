"""Plan error: how far is what a plan predicts from what the run then takes?

Runs training configurations one after the other, each planned in one process and trained in another, and prints peak
memory and seconds of the steps, predicted and measured, with the errors; then plans of 7B and 70B shapes on paper,
where nothing is measured. The worst errors come last.

    python -m benchmarks.plan_error BASE_FOLDER [--only NAME]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.conversations import source, write_conversations
from benchmarks.turns import gib

#: Tokens of a row on paper, and rows.
PAPER_ROW, PAPER_ROWS = 512, 64


@dataclass(frozen=True)
class Case:
    """One configuration.

    Attributes:
        name: for people.
        rows: of the dataset.
        settings: of the training section.
        architecture: of a tiny random model; empty for the base that was given.
    """

    name: str
    rows: int
    settings: dict[str, Any] = field(default_factory=dict)
    architecture: str = ""


LORA = {"rank": 16, "alpha": 32}
SMALL = {"batch_tokens": 512, "window_tokens": 512}
WIDE = {"batch_tokens": 1024, "window_tokens": 1024}
CASES = (
    Case("tiny llama", 160, SMALL, "llama"),
    Case("tiny llama, dpo", 160, {**SMALL, "method": "dpo"}, "llama"),
    Case("tiny gemma 2", 160, SMALL, "gemma2"),
    Case("tiny mixture (qwen3)", 160, SMALL, "qwen3_moe"),
    Case("lora 16, window 512", 48, SMALL),
    Case(
        "lora 64, window 1024", 64, {"adapter": {"rank": 64, "alpha": 64}, "batch_tokens": 1024, "window_tokens": 1024}
    ),
    Case("lora 16, dropout", 40, {**SMALL, "adapter": {**LORA, "dropout": 0.05}}),
    Case("lora 8, attention only", 40, {**SMALL, "adapter": {"rank": 8, "targets": ["q_proj", "v_proj"]}}),
    Case("dora 16", 40, {**SMALL, "adapter": {**LORA, "dora": True}}),
    Case("lora 16, recompute all", 40, {**SMALL, "recompute": True}),
    Case("lora 16, recompute every 2nd", 40, {**SMALL, "recompute": 2}),
    Case("lora 16, fp32", 40, {**SMALL, "precision": "fp32"}),
    Case("lora 16, all tokens, head 256 MiB", 40, {**SMALL, "loss_on": "all", "head_memory_mib": 256}),
    Case("full", 40, {**SMALL, "adapter": {"kind": "full"}, "learning_rate": 1e-5}),
    Case("qlora 16", 30, {**SMALL, "adapter": {"kind": "qlora", **LORA}}),
    Case("dpo, lora 16", 24, {**SMALL, "method": "dpo"}),
)

#: hidden, inner, layers, heads, heads of keys, vocabulary of Llama-family shapes.
SHAPES = {"7B": (4096, 11008, 32, 32, 32, 32000), "70B": (8192, 28672, 80, 64, 8, 128256)}


def child(arguments: list[str]) -> None:
    """Plan or train one case; prints one line of JSON."""
    kind, described, folder = arguments
    from tuneward.settings import silence

    silence()
    from tuneward.modeling.chat import Chat
    from tuneward.training.config import TrainingConfig
    from tuneward.training.job import Job, train
    from tuneward.training.rehearsal import plan_only

    case = json.loads(described)
    config = TrainingConfig(**case["settings"])
    base = Path(case["base"])
    job = Job(Path(case["rows"]), base, "base", config, Path(folder), "inputs", cache=Path(case["cache"]))
    if kind == "plan":
        plan = plan_only(job, Chat.load(base))
        print(
            json.dumps({"peak": plan["peak_bytes"], "seconds": plan["estimate"]["seconds"], "memory": plan["memory"]})
        )
        return
    told: list[dict[str, Any]] = []
    figures = train(job, Chat.load(base), emit=told.append).figures
    print(
        json.dumps(
            {
                "peak": figures["peak_bytes"],
                "seconds": figures["seconds"],
                "planned": figures["planned_peak_bytes"],
                "later": next((event["seconds"] for event in told if event["event"] == "estimate"), None),
            }
        )
    )


def ask(kind: str, case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a child says of a case."""
    command = [sys.executable, "-m", "benchmarks.plan_error", "--child", kind, json.dumps(case), str(folder)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return said


def on_paper(name: str, adapter: dict[str, Any], **settings: Any) -> str:
    """A line about a run of a shape that is not here."""
    import numpy as np
    from transformers import LlamaConfig

    from tuneward.training.batches import plan_steps
    from tuneward.training.config import TrainingConfig
    from tuneward.training.footprint import measure
    from tuneward.training.paper import IDS, four_bit_saving
    from tuneward.training.paper import on_paper as make
    from tuneward.training.plan import make_plan
    from tuneward.training.rows import Row

    hidden, inner, layers, heads, kv_heads, vocabulary = SHAPES[name]
    shape = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=False,
    )
    config = TrainingConfig(adapter=adapter, batch_tokens=2048, window_tokens=2048, **settings)
    lora = config.adapter.model_copy(update={"kind": "lora"}) if config.adapter.kind == "qlora" else config.adapter
    model = make(shape, lora, precision="bf16")
    ids = np.arange(PAPER_ROW, dtype=np.int32) % 64
    rows = [Row(str(number), ids, ids) for number in range(PAPER_ROWS)]
    steps = plan_steps(rows, epochs=1, batch_tokens=2048, window_tokens=2048, seed=0)
    masters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    plan = make_plan(
        model,
        rows=rows,
        steps=steps,
        config=config,
        precision="bf16",
        footprint=measure(model, IDS),
        masters=masters,
    )
    memory = dict(plan.memory)
    if config.adapter.kind == "qlora":
        memory["weights"] -= four_bit_saving(model)
    parts = ", ".join(f"{part} {gib(size)}" for part, size in memory.items())
    how = f"{config.adapter.kind}{', recomputed' if config.recompute else ''}"
    return f"{name} {how}: {gib(sum(memory.values()))} ({parts})"


def main() -> None:
    """Read the options and run."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder of the base model")
    parser.add_argument("--only", default="", help="part of a configuration's name")
    options = parser.parse_args()
    from tests.tiny import make_tiny_base

    print(source())
    worst = {"peak": 0.0, "before": 0.0, "after": 0.0}
    print("| configuration | peak, MiB predicted | measured | error | steps, s | planned before | after five steps |")
    with tempfile.TemporaryDirectory() as scratch:
        for number, case in enumerate(case for case in CASES if options.only in case.name):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            base = options.base.absolute()
            if case.architecture:
                base = make_tiny_base(folder / "base", architecture=case.architecture, max_position_embeddings=8192)
            rows = write_conversations(folder / "rows.jsonl", count=case.rows)
            told = {"settings": case.settings, "base": str(base), "rows": str(rows), "cache": str(folder / "cache")}
            run = ask("train", told, folder / "run")
            before, after = ask("plan", told, folder / "plan")["seconds"], run["later"]
            peak = run["planned"] / run["peak"] - 1
            times = [None if x is None else x / run["seconds"] - 1 for x in (before, after)]
            worst["peak"] = max(worst["peak"], abs(peak))
            for kind, error in zip(("before", "after"), times, strict=True):
                worst[kind] = max(worst[kind], abs(error or 0.0))
            told_times = " | ".join(
                "-" if x is None or error is None else f"{x:.1f} ({error:+.0%})"
                for x, error in zip((before, after), times, strict=True)
            )
            print(
                f"| {case.name} | {run['planned'] / 2**20:,.0f} | {run['peak'] / 2**20:,.0f} | {peak:+.1%} "
                f"| {run['seconds']:.1f} | {told_times} |",
                flush=True,
            )
    for name in SHAPES:
        for adapter, settings in (
            ({"rank": 16}, {}),
            ({"rank": 16}, {"recompute": True}),
            ({"kind": "qlora", "rank": 16}, {"recompute": True}),
        ):
            print(on_paper(name, adapter, **settings), flush=True)
    print(
        f"worst: peak {worst['peak']:.1%}, seconds before the run {worst['before']:.0%}, after five steps "
        f"{worst['after']:.0%}"
    )


if __name__ == "__main__":
    main()
