"""What tests of the compiled kernels share: whether they are here, and exact results to hold them against."""

import pytest
import torch

from tuneward.modeling.kernels.loading import compiled

needs_kernels = pytest.mark.skipif(
    compiled() is None, reason="needs a C compiler at installation, and a CPU with AVX-512 and its bf16 products"
)

#: Spacing of bf16 around 1; one rounding is off by half of it at most.
STEP = 2.0**-7


def distance(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Length of the difference, relative to the exact result's."""
    return float((found.double() - exact).norm() / exact.norm())
