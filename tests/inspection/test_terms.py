"""A site's own terms are found as whole words, a million of them at no more cost than ten."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.growth import slowdown
from tuneward.inspection.terms import LONGEST_TERM, TermList, read_terms


def terms(tmp_path, *lines: str) -> TermList:
    path = tmp_path / "terms.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    made = read_terms(path, name="customers", place="inspection.terms.customers")
    assert isinstance(made, TermList)
    return made


def found(made: TermList, text: str) -> list[str]:
    return [text[f.start : f.end] for f in made(text)]


def faults(tmp_path, content: bytes) -> list[tuple[str, str]]:
    path = tmp_path / "terms.txt"
    path.write_bytes(content)
    made = read_terms(path, name="customers", place="inspection.terms.customers")
    assert isinstance(made, list)
    assert all(fault.cure for fault in made)
    return [(fault.code, fault.place) for fault in made]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ACME ag and Acme AG", ["ACME ag", "Acme AG"]),
        ("Acme\n  AG", ["Acme\n  AG"]),
        ("Acme AGs, Acmes AG, acme-ag", []),
        ("(Müller & Söhne GmbH)", ["Müller & Söhne"]),
        ("MÜLLER & SÖHNE", ["MÜLLER & SÖHNE"]),
        ("STRASSE 9, Straße 9", ["STRASSE 9", "Straße 9"]),
        ("we use C++ and C", ["C++"]),
        ("Project X-17/b, project x - 17 / b", ["Project X-17/b", "project x - 17 / b"]),
        ("Project X-17", []),
        ("株式会社日立製作所は", ["日立"]),
        ("Bank of Nowhere Holding", ["Bank of Nowhere Holding"]),
        ("Bank of Nowhere", ["Bank of Nowhere"]),
        ("Bank of", []),
    ],
)
def test_terms_are_whole_words_whatever_their_case(tmp_path, text, wanted):
    made = terms(
        *(tmp_path, "Acme AG", "", "  ", "müller & söhne", "Straße 9", "C++", "Project X-17/b", "日立"),
        *("Bank of Nowhere", "Bank of Nowhere Holding"),
    )
    assert made.count == 8
    assert found(made, text) == wanted
    assert {f.kind for f in made(text)} <= {"term:customers"}


def test_an_empty_line_matches_nothing_and_a_short_term_is_refused(tmp_path):
    assert found(terms(tmp_path, "\ufeff", "", "Acme", "\r"), "nothing at all") == []
    content = b"Acme\na\n \n-\n\xff\xfe\n" + b"x " * (LONGEST_TERM + 1) + b"\n.,;\n"
    assert faults(tmp_path, content) == [("TW-INSP-002", f"terms.txt:{n}") for n in (2, 4, 5, 6, 7)]
    assert faults(tmp_path, b"\n\n") == [("TW-INSP-001", "inspection.terms.customers")]
    assert faults(tmp_path, b"a\n" * 1000)[-1] == ("TW-INSP-002", "terms.txt")


def test_a_list_that_is_not_there(tmp_path):
    made = read_terms(tmp_path / "none.txt", name="x", place="inspection.terms.x")
    assert [f.code for f in made] == ["TW-INSP-001"]


def test_faults_do_not_say_the_term(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("Jane Roe\nZ\n" + "Jane Roe " * 40)
    assert not any("Jane" in str(fault) or "Z" in str(fault.message) for fault in read_terms(path, name="x", place="y"))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["ab", "Cd", "é", "12", "&"]), min_size=1, max_size=3), min_size=1, max_size=6),
    st.lists(st.sampled_from(["ab", "CD", "É", "12", "&", "x"]), max_size=30),
)
def test_what_is_found_is_what_comparing_everywhere_finds(wanted, words):
    listed = {tuple(word.casefold() for word in term) for term in wanted}
    lengths: dict[str, int] = {}
    for term in listed:
        lengths[term[0]] = lengths.get(term[0], 0) | 1 << (len(term) - 1)
    made = TermList("x", lengths, {" ".join(term) for term in listed if len(term) > 1}, len(listed))
    text, at, expected = " ".join(words), 0, []
    while at < len(words):
        size = next(
            (
                n
                for n in (3, 2, 1)
                if tuple(w.casefold() for w in words[at : at + n]) in listed and at + n <= len(words)
            ),
            0,
        )
        if size:
            expected.append(" ".join(words[at : at + size]))
        at += size or 1
    assert found(made, text) == expected


def test_a_hundred_thousand_terms_cost_no_more_than_ten(tmp_path):
    many = [f"Kunde{n} Handels GmbH" for n in range(100_000)]
    few, all_of_them = terms(tmp_path, *many[:10]), terms(tmp_path, *many)
    text = "an ordinary sentence of some words, " * 20_000 + "kunde77 handels gmbh"
    assert found(all_of_them, text) == ["kunde77 handels gmbh"]
    assert slowdown(lambda made: found(made, text), few, all_of_them) < 5
