"""Memory of a base kept in four bits, against bf16 and against transformers with bitsandbytes.

Loads the base each way and counts what its weights hold: of the quantised layers, and of the whole model, with
embedding and head in bf16 and in four bits too. Of small models these two are a large part, so the same is worked out
for larger shapes. transformers with bitsandbytes keeps them in bf16. Prints the ratios last.

    python -m benchmarks.qlora_memory BASE_FOLDER
"""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.models import SHAPES
from tuneward.settings import silence

silence()

import torch  # noqa: E402

from tuneward.modeling.base_model import load_base  # noqa: E402
from tuneward.modeling.quantisation import (  # noqa: E402
    Nf4Linear,
    import_bitsandbytes,
    weight_bytes,
    weight_count,
)


def peer_bytes(folder: Path, *, double: bool) -> int:
    """What transformers with bitsandbytes keeps: weights, and of quantised ones all that their state holds."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, quantization_config=settings)
    kept: dict[int, int] = {}

    def count(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            kept[value.data_ptr()] = value.untyped_storage().nbytes()

    for parameter in model.parameters():
        count(parameter)
        state = getattr(parameter, "quant_state", None)
        for part in (state, getattr(state, "state2", None)):
            for value in vars(part).values() if part is not None else ():
                count(value)
    return sum(kept.values())


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder of the base model")
    folder = parser.parse_args().base
    import_bitsandbytes()
    plain = weight_bytes(load_base(folder, precision="bf16"))
    started = time.perf_counter()
    model = load_base(folder, precision="bf16", quantisation="nf4")
    seconds = time.perf_counter() - started
    layers = [module for module in model.modules() if isinstance(module, Nf4Linear)]
    inside = sum(layer.in_features * layer.out_features for layer in layers)
    packed, whole = sum(layer.bytes for layer in layers), weight_bytes(model)
    started = time.perf_counter()
    for layer in layers:
        layer.dequantise()
    again = time.perf_counter() - started
    ends = weight_bytes(load_base(folder, precision="bf16", quantisation="nf4-all"))
    share = packed / (2 * inside)
    print(f"{len(layers)} layers hold {inside / weight_count(model):.0%} of {weight_count(model):,} weights")
    print(f"loaded and quantised in {seconds:.1f} s; all layers made whole once in {again * 1e3:.0f} ms")
    double, default = (peer_bytes(folder, double=double) for double in (True, False))
    print(
        f"bf16 {plain / 2**20:.1f} MiB, layers in four bits {whole / 2**20:.1f} MiB, embedding and head too "
        f"{ends / 2**20:.1f} MiB; transformers with bitsandbytes "
        f"{double / 2**20:.1f} MiB with double quantisation, {default / 2**20:.1f} MiB by default"
    )
    for name in ("7b", "8b", "70b"):
        shape = SHAPES[name]
        outside = 2 * shape.vocabulary * shape.hidden  # embedding and head
        weights = shape.linear_weights + outside
        ratio = (share * shape.linear_weights + outside) / weights
        print(f"{name} on paper: {ratio:.3f}, with embedding and head {share:.3f}, of {2 * weights / 1e9:.1f} GB")
    print(
        f"ratio: {share:.4f} of the quantised layers, {whole / plain:.4f} of the whole model, {ends / plain:.4f} with "
        f"embedding and head; transformers with bitsandbytes {double / plain:.4f}"
    )


if __name__ == "__main__":
    main()
