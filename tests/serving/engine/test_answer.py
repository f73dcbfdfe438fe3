import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneward.serving.engine.answer import AnswerText, Token


class Spelled:
    """A streamer whose tokens are pieces of a given text."""

    def __init__(self, pieces):
        self._pieces = pieces

    def push(self, token):
        return self._pieces[token]

    def finish(self):
        return ""


def run(pieces, stop, *, logprobs=False):
    told = []
    text = AnswerText(Spelled(pieces), stop, told.append)
    for number, piece in enumerate(pieces):
        if text.push(number, Token(number, piece, -1.0) if logprobs else None):
            return told, True
    return told, text.finish()


def cut(text, stop):
    ends = [(text.find(one) + len(one), text.find(one)) for one in stop if one in text]
    return (text[: min(ends)[1]], True) if ends else (text, False)


@given(
    pieces=st.lists(st.text("ab\n", max_size=3), max_size=12),
    stop=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3).map(tuple),
)
def test_however_tokens_fall_the_answer_is_the_text_before_the_first_stop(pieces, stop):
    told, stopped = run(pieces, stop)
    assert ("".join(piece.text for piece in told), stopped) == cut("".join(pieces), stop)


def test_a_stop_text_split_over_tokens_is_never_begun():
    told, stopped = run(["one", " E", "N", "D", " two"], ("END",))
    assert stopped
    assert [piece.text for piece in told] == ["one", " "]


def test_what_looks_like_a_stop_text_is_withheld_and_given_when_it_is_none():
    told, stopped = run(["a E", "N", "X"], ("END",))
    assert not stopped
    assert [piece.text for piece in told] == ["a ", "ENX"]


def test_an_answer_that_ends_within_a_possible_stop_text_keeps_it():
    told, stopped = run(["a EN"], ("END",))
    assert not stopped
    assert "".join(piece.text for piece in told) == "a EN"


@pytest.mark.parametrize("stop", [(), ("END",), ("wo",)])
def test_log_probabilities_come_with_their_text(stop):
    told, _ = run(["one", " E", "N", "", " two"], stop, logprobs=True)
    given_out = "".join(piece.text for piece in told)
    assert [token.id for piece in told for token in piece.tokens] == [0, 1, 2, 3, 4]
    assert given_out == cut("one EN two", stop)[0]


def test_log_probabilities_of_a_withheld_stop_text_are_withheld():
    told, _ = run(["one", " ", "EN", "D"], ("END",), logprobs=True)
    assert [token.id for piece in told for token in piece.tokens] == [0, 1]
