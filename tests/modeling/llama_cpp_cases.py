"""llama.cpp as an oracle, where it is installed (``pip install 'tuneward[gguf-check]'``)."""

import pytest

from tuneward.modeling import llama_cpp

needs_llama_cpp = pytest.mark.skipif(
    not llama_cpp.installed(), reason="llama-cpp-python is not installed: pip install 'tuneward[gguf-check]'"
)
