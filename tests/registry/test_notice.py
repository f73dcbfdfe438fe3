"""The NOTICE tells base, licence, decision and what is asked, and cannot be forged by a name."""

from dataclasses import replace

from tuneward.registry.notice import NoticeFacts, make_notice

FACTS = NoticeFacts(
    project="claims",
    number=2,
    base="org/name@abc",
    base_digest="b" * 64,
    licence="llama3.1",
    stated="other",
    decision="lic_1",
    reason="read\nits terms\x1b[2J",
    duties=("Keep the acceptable use policy.",),
    law={
        "licences": {"CC-BY-4.0": 3, "MIT": 1},
        "duties": [{"kind": "attribution", "text": "Name the authors.", "licences": ["CC-BY-4.0"]}],
    },
)


def test_it_tells_all_of_it():
    text = make_notice(FACTS).decode()
    for words in (
        "claims, version 2",
        "licence: llama3.1",
        "stated in its files: other; decided as above (lic_1): read its terms[2J",
        "- Keep the acceptable use policy.",
        "3 rows under CC-BY-4.0",
        "1 row under MIT",
        "- Name the authors. (CC-BY-4.0)",
    ):
        assert words in text
    assert "\x1b" not in text
    assert make_notice(FACTS) == make_notice(FACTS)


def test_a_run_without_version_and_data_without_licence():
    text = make_notice(NoticeFacts("p", None, "b", "0" * 64, "MIT", "MIT")).decode()
    assert "p, not registered" in text
    assert "no licence is stated" in text
    assert "decided" not in text


def test_it_says_whether_the_bases_weights_were_changed():
    assert "Its weights were changed by training." in make_notice(FACTS).decode()
    beside = make_notice(replace(FACTS, merged=False)).decode()
    assert "Its weights are unchanged; what was trained is an adapter beside them." in beside
    assert "changed by training" not in beside
