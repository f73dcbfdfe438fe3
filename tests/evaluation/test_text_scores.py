import random

import pytest

from tuneward.evaluation.text_scores import common_subsequence, exact, rouge_l, token_f1, tokens


def test_tokens_of_any_script() -> None:
    assert tokens("Straße, ΟΔΟΣ 12-b_c! 東京") == ["strasse", "οδοσ", "12", "b", "c", "東京"]


def test_exact_forgives_white_space_at_the_ends_only() -> None:
    assert exact(" yes\n", "yes") == 1.0
    assert exact("Yes", "yes") == 0.0


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("a cat sat", "the cat sat", 2 / 3),
        ("cat cat cat", "cat", 0.5),  # 1 common of 3 given and 1 wanted: 2 / 4
        ("", "", 1.0),
        ("", "cat", 0.0),
        ("The CAT, sat.", "the cat sat", 1.0),
    ],
)
def test_token_f1(answer: str, reference: str, score: float) -> None:
    assert token_f1(answer, reference) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "score"),
    [("police kill the gunman", 0.75), ("the gunman kill police", 0.5), ("police killed the gunman", 1.0)],
)
def test_rouge_l_on_the_example_of_lin_2004(answer: str, score: float) -> None:
    assert rouge_l(answer, "police killed the gunman") == pytest.approx(score)


def test_common_subsequence_equals_the_textbook_table() -> None:
    generator = random.Random(7)
    for _ in range(300):
        left = generator.choices("abc", k=generator.randrange(0, 90))
        right = generator.choices("abc", k=generator.randrange(0, 90))
        table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
        for i, one in enumerate(left):
            for j, two in enumerate(right):
                table[i + 1][j + 1] = table[i][j] + 1 if one == two else max(table[i][j + 1], table[i + 1][j])
        assert common_subsequence(left, right) == table[-1][-1]
