"""Licences: the table keeps its form, names and texts are recognised, uses are refused with a cure."""

from typing import get_args

import pytest

from tuneward.modeling.licences import Use, check, duties, find, licences, read_licence

USES = get_args(Use)


def test_table_keeps_its_form():
    names = [name for licence in licences().values() for name in (licence.name.lower(), *licence.names)]
    aliases = [name for licence in licences().values() for name in {licence.name.lower(), *licence.names}]
    assert len(aliases) == len(set(aliases)), "one name must not mean two licences"
    assert all(name == name.lower() for name in names)
    for licence in licences().values():
        assert licence.duties, licence.name
        assert licence.uses, licence.name
        for duty in licence.duties:
            assert set(duty.uses) <= set(licence.uses), (licence.name, duty.text)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("Apache-2.0", USES),
        ("mit", USES),
        ("llama3.1", USES),
        ("gemma", USES),
        ("mrl", ("research",)),
        ("qwen-research", ("research",)),
        ("cc-by-nc-4.0", ("research",)),
        ("own", USES),
    ],
)
def test_uses(name, allowed):
    for use in USES:
        assert [fault.code for fault in check(name, use)] == ([] if use in allowed else ["TW-BASE-041"])


def test_unknown_licence_is_a_fault_with_its_cure():
    (fault,) = check("wtf-1", "internal")
    assert fault.code == "TW-BASE-040"
    assert "--licence" in fault.cure
    assert duties("wtf-1", "internal") == ()


@pytest.mark.parametrize(
    ("name", "use", "words"),
    [
        ("Apache-2.0", "weights", "NOTICE"),
        ("llama3.3", "hosted", "Built with Llama"),
        ("llama3.1", "weights", 'begins with "Llama"'),
        ("llama3", "internal", "improve other language models"),
        ("gemma", "hosted", "3.2"),
        ("qwen", "internal", "100 million"),
        ("deepseek", "weights", "inherited"),
    ],
)
def test_duties(name, use, words):
    assert any(words in text for text in duties(name, use))


def test_duties_follow_the_use():
    assert duties("Apache-2.0", "internal") == ()
    assert set(duties("llama3.1", "internal")) < set(duties("llama3.1", "weights"))


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


def test_find_ignores_case():
    assert find(" APACHE-2.0 ") is licences()["Apache-2.0"]
    assert find("") is None
