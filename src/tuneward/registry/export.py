"""An exported copy's paper, and the verdict on it.

Place on the road: ``workflows/export`` writes ``export.json`` into the copy's folder before it stores it. A copy is a
new artefact: its bytes are under no signature of the version it was made from, so the paper names base, adapter and
version by digest and tells how the copy was checked. Loads no torch: the copy is made and measured in ``modeling``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuneward.amounts import counted
from tuneward.errors import Fault
from tuneward.registry.config import ExportConfig

PAPER = "export.json"
PAPER_TYPE = "https://tuneward.dev/export/v1"


@dataclass(frozen=True)
class Check:
    """What was measured of a copy.

    Attributes:
        reader: what read the copy: ``transformers``, ``llama.cpp``, or transformers from a file's dequantised weights.
        precision: number format in which base and adapter computed.
        context_tokens: longest row for which the copy computes what the model computes.
        rows: held-out rows.
        tokens: their answer tokens.
        mean_kl: mean of KL(adapter ‖ copy) over them, in nats.
        max_kl: the largest.
        same: tokens at which both put the same one first.
        interval: 95% interval of that share.
        rows_read_alike: rows that the reader cuts into the same tokens; None where it got the tokens.
    """

    reader: str
    precision: str
    context_tokens: int
    rows: int
    tokens: int
    mean_kl: float
    max_kl: float
    same: int
    interval: tuple[float, float]
    rows_read_alike: int | None

    @property
    def agreement(self) -> float:
        """Share of tokens at which both put the same one first."""
        return self.same / self.tokens


def judge(check: Check, limits: ExportConfig, *, place: str) -> list[Fault]:
    """Why a copy may not be handed out; empty when it may."""
    what = f"checked through {check.reader} on {counted(check.tokens, 'answer token')} of {counted(check.rows, 'row')}"
    cure = "take a finer type, export the other format, or widen the limits under `export` in tuneward.yaml"
    faults = []
    if not check.mean_kl <= limits.max_mean_kl:
        told = f"mean KL is {check.mean_kl:.4f} nats (largest {check.max_kl:.3f}), {limits.max_mean_kl:g} is allowed"
        faults.append(Fault("TW-REG-010", f"{told}; {what}", place, cure))
    if check.agreement < limits.min_agreement:
        low, high = check.interval
        told = f"the same first token at {check.agreement:.1%} of places [{low:.1%}, {high:.1%}]"
        faults.append(Fault("TW-REG-010", f"{told}, {limits.min_agreement:.1%} is asked; {what}", place, cure))
    alike = check.rows_read_alike
    if alike is not None and alike < limits.min_agreement * check.rows:
        told = f"{check.reader} cuts {check.rows - alike} of {check.rows} rows into other tokens than the model's own"
        faults.append(Fault("TW-REG-010", told, place, "export as safetensors; this tokenizer has no equal there"))
    return faults


@dataclass(frozen=True)
class Paper:
    """What an exported copy says of itself.

    Attributes:
        project: the project's name.
        version: id of the registered version, or None for a run that no gate has judged.
        number: the version's number, or None.
        run: id of the run.
        adapter: digest of the adapter.
        base: digest of the base.
        base_name: the base's name.
        licence: of the base.
        dataset: fingerprint of the rows that trained it and that it was checked on.
        format: ``safetensors`` or ``gguf``.
        type: type of the weights; None for the base's own.
        tool_version: version of Tuneward that made it.
        limits: what was allowed.
        check: what was measured; None before.
        files: name → SHA-256 of every other file of the copy.
    """

    project: str
    version: str | None
    number: int | None
    run: str
    adapter: str
    base: str
    base_name: str
    licence: str
    dataset: str
    format: str
    type: str | None
    tool_version: str
    limits: Mapping[str, Any]
    check: Check | None = None
    files: Mapping[str, str] | None = None

    def same_request(self, paper: Mapping[str, Any]) -> bool:
        """Whether ``paper``, as read from a copy, answers the same request under the same limits."""
        asked = asdict(self)
        return all(paper.get(name) == asked[name] for name in asked.keys() - {"check", "files"})

    def write(self, folder: Path) -> None:
        """Write ``export.json``; the same paper gives the same bytes."""
        value = {"paper": PAPER_TYPE, **asdict(self)}
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (folder / PAPER).write_text(text + "\n", encoding="utf-8")


def read_paper(folder: Path) -> Mapping[str, Any]:
    """``export.json`` of a copy; empty where there is none that can be read."""
    try:
        value = json.loads((folder / PAPER).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
