"""Adapter kinds: every weight, LoRA and QLoRA trained on the same rows, answered and scored on the same held-out ones.

Walks `tuneward prepare`, `train` and `evaluate` for each kind in a copy of ``examples/e2e`` and prints quality, time,
memory and trained parameters; the share of the whole model's quality comes last.

    TUNEWARD_TEST_DATA=… python -m benchmarks.adapter_kinds [--train 1500] [--test 200] [--kinds full lora qlora]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path(__file__).parent.parent / "examples" / "e2e"

#: Kind → its adapter and learning rate. Every weight moves less in a step than an adapter's do.
KINDS: dict[str, tuple[dict[str, Any], float]] = {
    "full": ({"kind": "full"}, 1e-4),
    "lora": ({"kind": "lora", "rank": 16, "alpha": 32}, 1e-3),
    "qlora": ({"kind": "qlora", "rank": 16, "alpha": 32}, 1e-3),
}

HEADS = ("kind", "trained", "exact", "fields right (F1)", "valid", "training, min", "tokens/s", "peak, GiB")


def tuneward(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command with ``--json`` in a project; returns what it prints."""
    command = [sys.executable, "-m", "tuneward.cli.main", *arguments, "--json"]
    ended = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def walk(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train and evaluate one kind; returns the run's figures and what was measured."""
    adapter, rate = KINDS[kind]
    path = folder / "tuneward.yaml"
    project = yaml.safe_load(path.read_text(encoding="utf-8"))
    project["training"] |= {"adapter": adapter, "learning_rate": rate}
    project["evaluation"]["gate"] = {"task.valid": {"min": 0.0}}  # what comes out is told, not judged
    path.write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")
    tuneward(folder, "prepare")
    asked = tuneward(folder, "approve", "request", "--why", "kinds are compared")
    tuneward(folder, "approve", "grant", asked["approval"]["id"], "--reason", "a comparison")
    run = tuneward(folder, "train")["run"]["figures"]
    return run, tuneward(folder, "evaluate")["report"]["figures"]


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default="1500")
    parser.add_argument("--test", default="200")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}", flush=True)
    exact: dict[str, tuple[float, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "e2e"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("data", ".tuneward"))
        made = [sys.executable, "make_data.py", "--train", options.train, "--test", options.test]
        subprocess.run(made, cwd=folder, check=True)
        tuneward(folder, "init", ".")
        tuneward(folder, "pull")
        for kind in options.kinds:
            run, measured = walk(folder, kind)
            exact[kind] = measured["task.exact_match"]["tuned"], run["trained_parameters"]
            print(f"| {' | '.join((kind, *cells(run, measured)))} |", flush=True)
    if {"full", "lora"} <= set(exact):
        (whole, all_weights), (part, few) = exact["full"], exact["lora"]
        print(f"LoRA: {part / whole:.0%} of the exact answers at {few / all_weights:.1%} of the trained parameters")


def cells(run: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """Figures of one kind, as :data:`HEADS` names them."""
    rates = [told(measured[name]) for name in ("task.exact_match", "task.field_f1", "task.valid")]
    minutes, peak = run["seconds"] / 60, run["peak_bytes"] / 2**30
    return [
        f"{run['trained_parameters']:,}",
        *rates,
        f"{minutes:.1f}",
        f"{run['tokens_per_second']:.0f}",
        f"{peak:.1f}",
    ]


def told(figure: dict[str, Any]) -> str:
    """A figure with its interval."""
    low, high = figure["interval"]
    return f"{figure['tuned']:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
