"""Shingles against those cut one by one in plain Python."""

from hypothesis import given
from hypothesis import strategies as st

from tuneward.inspection.normal_form import normal_form
from tuneward.inspection.shingles import Shingling, cut, sets_of

CHARACTERS, WORDS = Shingling("characters", 4), Shingling("words", 2)
texts = st.lists(st.text(st.sampled_from("abéß漢 .!-1"), max_size=30).map(normal_form), min_size=1, max_size=6)


def plain(text, how):
    """Every piece of a text, punctuation folded, in plain Python."""
    folded = "".join(c if c.isalnum() else " " for c in text).split()
    if not folded:
        folded = ["".join(chr(0xF0000 + ord(c)) for c in text) or chr(0xF0000)]
    units = list(" ".join(folded) + " ") if how.unit == "characters" else [word + " " for word in folded]
    return {"".join(units[i : i + how.width]) for i in range(max(1, len(units) - how.width + 1))}


@given(texts, st.sampled_from([CHARACTERS, WORDS]))
def test_pieces_are_equal_exactly_where_plain_pieces_are(rows, how):
    batch = cut(rows, how)
    keys, sizes = sets_of(batch)
    wanted = [plain(row, how) for row in rows]
    assert sizes.tolist() == [len(pieces) for pieces in wanted]
    ours = [set((keys[keys >> 40 == row] & ((1 << 40) - 1)).tolist()) for row in range(len(rows))]
    for one in range(len(rows)):
        for other in range(len(rows)):
            assert len(ours[one] & ours[other]) == len(wanted[one] & wanted[other])


@given(texts)
def test_a_text_is_cut_alike_in_any_company(rows):
    together = cut(rows, CHARACTERS)
    for number, row in enumerate(rows):
        assert cut([row], CHARACTERS).hashes.tolist() == together.hashes[together.rows == number].tolist()


def test_case_signs_and_white_space_make_no_difference_after_the_normal_form():
    one, other = (normal_form(text) for text in ("Hello,  World! (again)", "hello world\nAGAIN"))
    for how in (CHARACTERS, WORDS):
        assert cut([one], how).hashes.tolist() == cut([other], how).hashes.tolist()


def test_texts_of_signs_alone_are_told_apart():
    batch = cut(["??", "!!", ""], CHARACTERS)
    assert len(set(batch.hashes.tolist())) == 3


def test_lone_surrogates_are_cut_like_anything_else():
    assert cut(["a\ud800b"], WORDS).count == 1
