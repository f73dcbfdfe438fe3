"""Memory that a step frees stays with the process, and goes back to the system when it is asked to."""

import os
import subprocess
import sys

import pytest

from tuneward.modeling import machine

#: Touches and frees 64 blocks of 4 MiB, and says what was in use then: kept, and after the return, in MiB.
PROGRAM = """
import torch
from pathlib import Path
from tuneward.training.allocator import keep_freed_memory, return_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

print(keep_freed_memory())
before = resident()
blocks = [torch.ones(2**20) for _ in range(64)]
del blocks
print(resident() - before)
return_freed_memory()
print(resident() - before)
"""


def told(environment: dict[str, str]) -> tuple[bool, int, int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=True)
    keeps, kept, left = done.stdout.split()
    return keeps == "True", int(kept), int(left)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="says what is resident in Linux's way")
@pytest.mark.parametrize("allocator", ["the C library's", "jemalloc"])
def test_freed_memory_is_kept_until_it_is_given_back(monkeypatch: pytest.MonkeyPatch, allocator: str) -> None:
    for name in ("LD_PRELOAD", "MALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    environment = dict(os.environ)
    if allocator == "jemalloc":
        environment = machine.with_jemalloc(environment)
        if "LD_PRELOAD" not in environment:
            pytest.skip("this machine has no jemalloc")
    keeps, kept, left = told(environment)
    assert keeps
    assert kept > 200
    assert left < 50
