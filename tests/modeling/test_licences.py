"""Licence of a model folder: card and text are read, and a text is recognised."""

from pathlib import Path

import pydantic
import pytest

from tuneward.licences import licences
from tuneward.modeling.licences import licence_text_digest, read_licence


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n", "Apache-2.0"),
        ("---\nlanguage: [en]\nlicense: other\nlicense_name: qwen-research\n---\ntext", "qwen-research"),
        ("---\r\nlicense: llama3.2\r\n---\r\n", "llama3.2"),
        ("---\nlicense: wtf-1\n---\n", "wtf-1"),
        ("---\nlicense: other\n---\n", None),
        ("---\nlicense: [a\n---\n", None),
        ("# no front matter\nlicense: mit\n", None),
        (None, None),
    ],
)
def test_reads_the_model_card(tmp_path, card, expected):
    if card is not None:
        (tmp_path / "README.md").write_bytes(card.encode())
    assert read_licence(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Apache License\n      Version 2.0, January 2004\n", "Apache-2.0"),
        ("MIT License\n\nPermission is hereby\ngranted, free of charge", "MIT"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "llama3.1"),
        ("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT", "llama3.2"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "llama3"),
        ("Gemma Terms of Use", "gemma"),
        ("All rights reserved.", None),
    ],
)
def test_reads_the_licence_text(tmp_path, text, expected):
    (tmp_path / "LICENSE").write_text(text)
    (tmp_path / "README.md").write_text("---\nlicense: other\n---\n")
    assert read_licence(tmp_path) == expected


def test_card_and_text_are_both_asked(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: made-up\n---\n")
    (tmp_path / "LICENSE").write_text("Gemma Terms of Use")
    assert read_licence(tmp_path) == "gemma"


def test_a_text_is_known_by_its_digest(tmp_path):
    assert licence_text_digest(tmp_path) is None
    words = Path(pydantic.__file__).parents[1].glob("pydantic-*.dist-info/licenses/LICENSE")
    text = next(iter(words)).read_text().replace("Copyright (c)", "Copyright (c) somebody and")
    (tmp_path / "LICENSE").write_text(text)
    assert licence_text_digest(tmp_path) in licences()["MIT"].text_sha256
    (tmp_path / "LICENSE").write_text(text + "No use on Sundays.")
    assert licence_text_digest(tmp_path) not in licences()["MIT"].text_sha256
