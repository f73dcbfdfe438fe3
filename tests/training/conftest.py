import os

import pytest
import torch

from tests.tiny import make_tiny_base

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start: tiny products are slower on two threads


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))
