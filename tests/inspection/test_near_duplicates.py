"""Near-duplicates: found whole, whatever the order, and against Jaccard computed the long way."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneward.inspection import near_duplicates as module
from tuneward.inspection.near_duplicates import Likeness, NearDuplicates, near_duplicates
from tuneward.inspection.near_lookup import NearLookup
from tuneward.inspection.shingles import Shingling

WORDS = Likeness(Shingling("words", 3), 0.8, smaller=1)


def text_of_words(generator, words=60):
    return " ".join("".join(generator.choices("abcdefghij", k=6)) for _ in range(words))


def edited(text, generator):
    parts = text.split()
    parts[generator.randrange(len(parts))] = "changed"
    return " ".join(parts)


def test_edited_copies_are_found_and_others_are_not():
    generator = random.Random(3)
    texts = [text_of_words(generator) for _ in range(300)]
    texts += [edited(texts[i], generator) for i in range(40)]
    assert near_duplicates(texts).members() == [[i, 300 + i] for i in range(40)]


@pytest.mark.parametrize(("changed", "near"), [(6, True), (12, False)])
def test_the_threshold_is_that_of_true_jaccard_similarity(changed, near):
    """Of 98 shingles 6 changed words touch 8: 90 / 106 = 0.85; 12 touch 14: 84 / 112 = 0.75."""
    words = [f"w{i}" for i in range(100)]
    other = words[:40] + [f"v{i}" for i in range(changed)] + words[40 + changed :]
    found = near_duplicates([" ".join(words), " ".join(other)], like=WORDS).members()
    assert found == ([[0, 1]] if near else [])


@pytest.mark.parametrize(("kept", "near"), [(60, True), (45, False)])
def test_a_text_cut_off_is_found_down_to_half_of_it(kept, near):
    whole = text_of_words(random.Random(5), 100)
    assert near_duplicates([whole, " ".join(whole.split()[:kept])]).members() == ([[0, 1]] if near else [])
    jaccard_only = Likeness(jaccard=0.7, smaller=1)
    assert near_duplicates([whole, " ".join(whole.split()[:kept])], like=jaccard_only).members() == []


def test_short_and_empty_texts_are_compared_whole():
    assert near_duplicates(["", "yes", "no", "yes", "??", "!!"]).members() == [[1, 3]]
    assert near_duplicates([]).members() == []


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_clusters_do_not_depend_on_the_order_of_rows(seed):
    generator = random.Random(seed)
    base = [text_of_words(generator, 12) for _ in range(6)]
    texts = base + [edited(generator.choice(base), generator) for _ in range(14)]
    order = generator.sample(range(len(texts)), len(texts))
    plain = {frozenset(members) for members in near_duplicates(texts).members()}
    shuffled = near_duplicates([texts[i] for i in order]).members()
    assert {frozenset(order[i] for i in members) for members in shuffled} == plain


def test_the_order_of_rows_does_not_matter_where_keys_are_crowded(monkeypatch):
    """Compared with one neighbour only, so that which one it is decides; it must be drawn from the texts."""
    monkeypatch.setattr(module, "_NEIGHBOURS", 1)
    like = Likeness(Shingling("words", 3), 0.92, smaller=1)
    for seed in range(5):
        generator = random.Random(seed)
        frame = text_of_words(generator, 100)
        texts = [f"{frame} {text_of_words(generator, 8)}" for _ in range(60)]
        texts += [edited(text, generator) for text in texts[:40]]
        order = generator.sample(range(len(texts)), len(texts))
        plain = {frozenset(members) for members in near_duplicates(texts, like=like).members()}
        shuffled = near_duplicates([texts[i] for i in order], like=like).members()
        assert {frozenset(order[i] for i in members) for members in shuffled} == plain


def test_batches_and_chunks_do_not_show(monkeypatch):
    generator = random.Random(9)
    texts = [text_of_words(generator, 20) for _ in range(60)]
    texts += [edited(text, generator) for text in texts]
    whole = near_duplicates(texts).members()
    for name in ("BATCH_CHARACTERS", "_CHUNK_CHARACTERS", "_CHUNK_PAIRS"):
        monkeypatch.setattr(module, name, 7)
    assert near_duplicates(texts).members() == whole
    assert len(whole) == 60


def test_more_can_be_added_after_the_clusters_were_asked_for():
    index, texts = NearDuplicates(), ["one two three", "four five six"]
    for text in texts:
        index.add(text)
    assert index.clusters(texts.__getitem__).members() == []
    texts.append("four five six")
    assert index.add(texts[2]) == 2
    assert len(index) == 3
    assert index.clusters(texts.__getitem__).members() == [[1, 2]]


def test_a_thousand_rows_of_one_form_do_not_compare_all_with_all():
    generator = random.Random(1)
    frame = text_of_words(generator, 40)
    texts = [f"{frame} {text_of_words(generator, 60)}" for _ in range(1000)]
    index = NearDuplicates()
    for text in texts:
        index.add(text)
    assert index.clusters(texts.__getitem__).members() == []
    assert index.compared < 1000 * 6 * 32


def test_a_lookup_names_the_first_given_text_that_is_repeated():
    generator = random.Random(4)
    given_texts = [text_of_words(generator) for _ in range(50)]
    given_texts.append(edited(given_texts[7], generator))
    asked = [edited(given_texts[7], generator), text_of_words(generator), given_texts[20], ""]
    lookup = NearLookup(given_texts)
    assert lookup.match(asked) == [7, None, 20, None]
    assert lookup.match(asked * 30) == [7, None, 20, None] * 30
    assert NearLookup([]).match(asked) == [None] * 4


def test_what_is_near_to_a_near_text_is_not_near():
    words = text_of_words(random.Random(8), 100).split()
    given_text, near, far = " ".join(words), " ".join(words[:88] + ["x"] * 12), " ".join(words[:70] + ["x"] * 30)
    like = Likeness(jaccard=0.7, smaller=1)
    assert NearLookup([given_text], like).match([near, far]) == [0, None]
    assert len(near_duplicates([given_text, near, far], like=like).members()[0]) == 3
