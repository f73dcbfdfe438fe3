"""Memory of a base whose linear layers are kept in four bits, against bf16.

``python benchmarks/qlora_memory.py BASE_FOLDER`` loads the base both ways and counts what its weights hold: of the
quantised layers, and of the whole model, whose embeddings and head stay in bf16. Prints the two ratios last.
"""

import sys
import time
from pathlib import Path

from tuneward.settings import silence

silence()

from tuneward.modeling.base_model import load_base  # noqa: E402
from tuneward.modeling.quantisation import Nf4Linear, import_bitsandbytes, weight_bytes, weight_count  # noqa: E402


def main(folder: Path) -> None:
    import_bitsandbytes()
    plain = weight_bytes(load_base(folder, precision="bf16"))
    started = time.perf_counter()
    model = load_base(folder, precision="bf16", quantised=True)
    seconds = time.perf_counter() - started
    layers = [module for module in model.modules() if isinstance(module, Nf4Linear)]
    inside = sum(layer.in_features * layer.out_features for layer in layers)
    packed, whole = sum(layer.bytes for layer in layers), weight_bytes(model)
    started = time.perf_counter()
    for layer in layers:
        layer.dequantise()
    again = time.perf_counter() - started
    print(f"{len(layers)} layers hold {inside / weight_count(model):.0%} of {weight_count(model):,} weights")
    print(f"loaded and quantised in {seconds:.1f} s; all layers made whole once in {again * 1e3:.0f} ms")
    print(f"bf16 {plain / 2**20:.1f} MiB, four bits {whole / 2**20:.1f} MiB")
    print(f"ratio: {packed / (2 * inside):.4f} of the quantised layers, {whole / plain:.4f} of the whole model")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
