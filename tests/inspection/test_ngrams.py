"""N-grams: how much of a tested text stands in others."""

import random

import numpy as np
import pytest

from tuneward.inspection.ngrams import Ngrams


def words(seed, count):
    generator = random.Random(seed)
    return ["".join(generator.choices("abcdefghij", k=6)) for _ in range(count)]


def test_a_text_within_much_other_text_is_found_with_its_share():
    tested = [" ".join(words(1, 40)), " ".join(words(2, 30))]
    whole = " ".join([*words(3, 200), *words(1, 40), *words(4, 200)])
    part = " ".join([*words(5, 200), *words(2, 30)[:21]])
    ngrams = Ngrams(tested)
    found = ngrams.look(["nothing of it", whole, part], least=0.5)
    assert [(share.text, share.tested, share.share) for share in found] == [(1, 0, 1.0), (2, 1, 0.5)]
    assert Ngrams(tested).look([part], least=0.51) == []
    assert ngrams.covered().tolist() == [1.0, 0.5]


def test_a_question_gives_its_item_away_without_the_answer():
    question, answer = " ".join(words(1, 20)), " ".join(words(2, 60))
    within = " ".join([*words(3, 50), question, *words(4, 50)])
    ngrams = Ngrams([f"{question} {answer}"], [question])
    assert Ngrams([f"{question} {answer}"]).look([within], least=0.5) == []
    assert [(share.tested, share.share) for share in ngrams.look([within], least=0.5)] == [(0, 1.0)]
    assert ngrams.covered().tolist() == [1.0]


def test_a_part_does_not_make_a_phrase_of_the_form_of_its_own_item():
    texts = [" ".join([*words(1, 20), *words(seed, 20)]) for seed in range(2, 10)]
    assert len(Ngrams(texts, [" ".join(words(1, 20))] * 8).look([" ".join(words(1, 20))], least=0.01)) == 8


def test_two_texts_that_hold_a_half_each_cover_the_whole():
    tested = words(1, 40)
    ngrams = Ngrams([" ".join(tested)])
    assert ngrams.look([" ".join(tested[:26]), " ".join(tested[14:])], least=0.6) == []
    assert ngrams.covered().tolist() == [1.0]


@pytest.mark.parametrize(("count", "found"), [(7, 0), (8, 1), (12, 1), (13, 1)])
def test_short_texts_are_one_run_and_very_short_ones_none(count, found):
    text = " ".join(words(6, count))
    ngrams = Ngrams([text])
    assert len(ngrams.look([f"before {text} after"], least=0.5)) == found
    assert np.isnan(ngrams.covered()).tolist() == [not found]


def test_phrases_of_the_form_do_not_count():
    form = " ".join(words(7, 30))
    tested = [f"{form} {' '.join(words(100 + i, 12))}" for i in range(11)]
    assert Ngrams(tested).look([form], least=0.01) == []
    assert len(Ngrams(tested[:10]).look([form], least=0.01)) == 10


def test_without_tested_texts_nothing_is_found():
    ngrams = Ngrams([])
    assert ngrams.look(["a b c d e f g h i j"], least=0.5) == []
    assert ngrams.covered().tolist() == []
