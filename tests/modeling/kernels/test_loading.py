import _ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.modeling.kernel_cases import needs_kernels
from tuneward.modeling.kernels import loading

ROOT = Path(__file__).parents[3]
PROCESSOR = Path("/proc/cpuinfo")


@pytest.fixture
def looked_for_anew():
    loading.compiled.cache_clear()
    yield
    loading.compiled.cache_clear()


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.skipif(
    not PROCESSOR.is_file() or "avx512_bf16" not in PROCESSOR.read_text(encoding="ascii", errors="replace"),
    reason="needs a CPU with AVX-512 and its bf16 products",
)
def test_the_build_makes_kernels_that_load_here(tmp_path, monkeypatch, looked_for_anew):
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    room = "src/tuneward/modeling/kernels"
    shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--build-lib", "built"], cwd=tmp_path, capture_output=True, text=True
    )
    (made,) = (tmp_path / "built").rglob("_compiled*")
    assert done.returncode == 0
    assert "warning" not in done.stderr.lower()
    code = f"import ctypes, torch; print(ctypes.CDLL({str(made)!r}).supported()); print(open('/proc/self/maps').read())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    supported, _, maps = told.partition("\n")
    assert supported == "1"
    openmp = {line.split()[-1] for line in maps.splitlines() if "gomp" in line}
    assert len(openmp) == 1, "the kernels' threads are torch's"


def test_without_a_build_nothing_fits(monkeypatch, looked_for_anew):
    monkeypatch.setattr(loading, "MODULE", "tuneward.modeling.kernels._missing")
    assert loading.compiled() is None
    assert not loading.fits(torch.ones(2, 2, dtype=torch.bfloat16))


def test_a_damaged_build_is_said_and_left_out(tmp_path, monkeypatch, caplog, looked_for_anew):
    (tmp_path / "broken_kernels.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loading, "MODULE", "broken_kernels")
    assert loading.compiled() is None
    assert "kernels are left out" in caplog.text


@pytest.mark.skipif(not hasattr(_ctypes, "__file__"), reason="needs a library that is not ours")
def test_another_library_is_said_and_left_out(monkeypatch, caplog, looked_for_anew):
    monkeypatch.setattr(loading, "MODULE", "_ctypes")
    assert loading.compiled() is None
    assert "kernels are left out" in caplog.text


@needs_kernels
def test_a_build_of_other_sources_is_said_and_left_out(tmp_path, monkeypatch, caplog, looked_for_anew):
    for file in (ROOT / "src/tuneward/modeling/kernels").glob("*.[ch]"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(loading, "__file__", str(tmp_path / "loading.py"))
    assert loading.compiled() is not None
    loading.compiled.cache_clear()
    with (tmp_path / "attention.c").open("a") as source:
        source.write("/* another layout */")
    assert loading.compiled() is None
    assert "was made from other sources" in caplog.text


@needs_kernels
def test_only_dense_bf16_on_the_processor_fits():
    fine = torch.ones(4, 6, dtype=torch.bfloat16)
    assert loading.fits(fine, fine[:, :3])
    assert not loading.fits(fine, fine.float())
    assert not loading.fits(fine.t())
    assert not loading.fits(torch.empty(2, 2, dtype=torch.bfloat16, device="meta"))
