"""The section as PRODUCT writes it validates; contradictions do not."""

import pytest

from tuneward.configuration import validate
from tuneward.data.config import DataConfig
from tuneward.errors import ConfigError


def test_the_small_project_validates():
    section = {"train": ["data/claims.jsonl"], "test": ["t.jsonl"], "subject": "customer_id", "legal_basis": "contract"}
    assert validate(section, DataConfig).train == ("data/claims.jsonl",)


def test_one_file_needs_no_list():
    assert DataConfig(train="a.jsonl").train == ("a.jsonl",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"train": []},
        {"train": [" "]},
        {"train": 5},
        {"train": ["a"], "prompt": "p"},
        {"train": ["a"], "messages": "m", "prompt": "p", "answer": "a"},
        {"train": ["a"], "too_long": "cut"},
        {"train": ["a"], "legal_basis": "because"},
        {"train": ["a"], "context_tokens": 0},
        {"train": ["a"], "subject": ""},
        {"train": ["a"], "subjct": "x"},
    ],
)
def test_contradictions_are_refused(wrong):
    with pytest.raises(ConfigError):
        validate(wrong, DataConfig)
