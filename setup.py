"""Compiles the kernels of ``tuneward.modeling.kernels`` where the machine that installs has a C compiler.

Everything else of the build stands in ``pyproject.toml``. The sources need no header but the compiler's own, and are
``optional``: without a compiler, or on a processor of another family, the package installs without them and computes
with PyTorch's operations alone.
"""

import hashlib
from pathlib import Path

from setuptools import Extension, setup

ROOM = "src/tuneward/modeling/kernels"
#: What the kernels say they were made from; ``kernels.loading`` leaves out those of other sources than lie beside it.
SOURCES = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(Path(ROOM).glob("*.[ch]")))).hexdigest()
INSTRUCTIONS = [f"-m{name}" for name in ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512bf16", "fma")]

setup(
    ext_modules=[
        Extension(
            "tuneward.modeling.kernels._compiled",
            sources=[f"{ROOM}/{name}.c" for name in ("attention", "pointwise", "supported")],
            depends=[f"{ROOM}/{name}.h" for name in ("exponential", "tile")],
            define_macros=[("TUNEWARD_SOURCES", f'"{SOURCES}"')],
            extra_compile_args=["-O3", "-fopenmp", *INSTRUCTIONS],
            extra_link_args=["-fopenmp"],
            libraries=["m"],
            optional=True,
        )
    ]
)
