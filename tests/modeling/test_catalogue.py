"""Catalogue: every entry is complete, pinned and under a known licence."""

import re
import subprocess
import sys

import pytest

from tuneward.licences import check
from tuneward.modeling.catalogue import entries
from tuneward.modeling.pull import HUB_ID


@pytest.mark.parametrize("name", entries())
def test_entry(name):
    entry = entries()[name]
    assert re.fullmatch(r"[0-9a-f]{64}", entry.wheel.sha256)
    assert entry.wheel.file.endswith(".whl")
    assert entry.wheel.version in entry.wheel.file
    assert entry.wheel.bytes > 0
    assert entry.wheel.member.endswith(".gguf")
    assert check(entry.licence, "internal") == []
    assert name == name.lower()
    assert not HUB_ID.fullmatch(name), "a catalogue name must not look like a hub id"


def test_the_quickstart_model_is_there():
    assert "smollm2-135m-instruct" in entries()


def test_catalogue_and_licences_load_no_torch():
    code = "import sys, tuneward.modeling.catalogue, tuneward.licences; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pull_loads_no_torch_before_it_is_needed():
    code = "import sys, tuneward.modeling.pull; assert not {'torch', 'transformers', 'gguf'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
