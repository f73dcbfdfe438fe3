"""Every test here needs a CUDA device and skips without one; products of fp32 stay in fp32."""

from pathlib import Path

import pytest
import torch


def pytest_collection_modifyitems(items):
    absent = pytest.mark.skip(reason="torch sees no CUDA device")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(absent)


@pytest.fixture(scope="session")
def device():
    """Where these tests compute."""
    return "cuda"


@pytest.fixture(autouse=True)
def _whole_products():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)
