"""Licences: the table keeps its form, uses are refused with a cure, expressions are read."""

from typing import get_args

import pytest

from tuneward.licences import (
    Grant,
    OwnLicence,
    Refusal,
    Use,
    check,
    choices_of,
    duties,
    find,
    grant_of,
    licences,
    text_digest,
)

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


def test_find_ignores_case():
    assert find(" APACHE-2.0 ") is licences()["Apache-2.0"]
    assert find("") is None


@pytest.mark.parametrize(
    ("expression", "use", "expected"),
    [
        ("MIT", "weights", ["MIT"]),
        ("apache 2.0", "weights", ["Apache-2.0"]),
        ("CC-BY-NC-4.0 OR MIT", "weights", ["MIT"]),
        ("CC-BY-NC-4.0 OR MIT", "research", ["CC-BY-NC-4.0"]),
        ("MIT AND CC-BY-4.0", "hosted", ["MIT", "CC-BY-4.0"]),
        ("MIT AND (CC-BY-NC-4.0 OR CC-BY-SA-4.0)", "internal", ["MIT", "CC-BY-SA-4.0"]),
        ("GPL-3.0-only WITH Classpath-exception-2.0", "internal", ["GPL-3.0-only"]),
        ("MIT and cc-by-4.0", "internal", ["MIT", "CC-BY-4.0"]),
        ("CC-BY-NC-4.0 AND MIT", "internal", None),
        ("CC-BY-ND-4.0", "hosted", None),
        ("CC-BY-ND-4.0", "internal", ["CC-BY-ND-4.0"]),
        ("MIT AND made-up", "internal", None),
        ("MIT OR made-up", "internal", ["MIT"]),
        ("(MIT", "internal", None),
        ("", "internal", None),
        ("MIT " * 200, "internal", None),
        ("(" * 190 + "MIT" + ")" * 190, "internal", ["MIT"]),
        (" AND ".join(f"(a{n} OR b{n})" for n in range(12)), "internal", None),
    ],
)
def test_expressions(expression, use, expected):
    grant = grant_of(expression, use)
    assert isinstance(grant, Grant if expected else Refusal)
    if isinstance(grant, Grant):
        assert [licence.name for licence in grant.licences] == expected
        assert all(use in duty.uses for duty in grant.duties)


def test_a_choice_is_allowed_exactly_when_one_of_its_licences_is():
    names = list(licences())
    for use in USES:
        for one, other in zip(names, names[3:], strict=False):
            allowed = [use in licences()[name].uses for name in (one, other)]
            assert isinstance(grant_of(f"{one} OR {other}", use), Grant) is any(allowed), (one, other, use)
            assert isinstance(grant_of(f"{one} AND {other}", use), Grant) is all(allowed), (one, other, use)


def test_a_licence_of_the_sites_own():
    own = {"LicenseRef-acme": OwnLicence(uses=("internal",), duties=())}
    assert isinstance(grant_of("LicenseRef-acme AND MIT", "internal", own), Grant)
    refused = grant_of("LicenseRef-acme AND MIT", "hosted", own)
    assert isinstance(refused, Refusal)
    assert refused.message == "LicenseRef-acme and MIT allows internal, not 'hosted'"
    assert grant_of("LicenseRef-acme", "internal").unknown == ("LicenseRef-acme",)


def test_choices_are_bounded():
    assert choices_of("MIT OR ISC") == (("MIT",), ("ISC",))
    assert isinstance(choices_of(" AND ".join(f"(a{n} OR b{n})" for n in range(7))), Refusal)


def test_what_a_text_is_told_by():
    assert text_digest("A\n Copyright (c) 2020 Me\n b") == text_digest("a   B")
    assert text_digest("a b") != text_digest("a c")
    for licence in licences().values():
        assert bool(licence.text_sha256) != bool(licence.text_absent), licence.name
