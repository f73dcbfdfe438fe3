"""The scorer of inspection: what counts as right, as found, and as one span."""

from benchmarks.inspection_spans import Marked, Span, merged, outermost, score

TEXT = "12 Baker Street, London: call 0170 1234567"
GOLD = (Span(0, 15, ("STREET_ADDRESS",)), Span(17, 23, ("GPE",)), Span(30, 42, ("PHONE_NUMBER",)))


def test_overlap_asks_for_a_character_and_exact_for_all():
    said = [[Span(3, 15, ("STREET_ADDRESS",)), Span(30, 42, ("PHONE_NUMBER",)), Span(24, 28, ("AGE",))]]
    texts = [Marked(TEXT, GOLD, 1)]
    loose, strict = score(texts, said, "overlap").of(), score(texts, said, "exact").of()
    assert (loose.right, loose.said, loose.found, loose.gold) == (2, 3, 2, 3)
    assert (strict.right, strict.found) == (1, 1)


def test_the_type_must_be_one_that_may_be_meant():
    said = [[Span(17, 23, ("PERSON",)), Span(0, 15, ("GPE", "STREET_ADDRESS"))]]
    counts = score([Marked(TEXT, GOLD, 1)], said, "overlap")
    assert counts.of(["PERSON"]).precision == 0.0
    assert counts.of(["STREET_ADDRESS"]).f1 == 1.0


def test_neighbours_of_one_type_are_joined_and_signs_at_the_ends_dropped():
    spans = [Span(0, 3, ("A",)), Span(3, 16, ("A",)), Span(17, 24, ("B",))]
    assert merged(TEXT, spans) == [Span(0, 15, ("A",)), Span(17, 23, ("B",))]


def test_what_lies_in_a_surer_span_is_dropped():
    outer, inner = Span(0, 10, ("A",), 0.9), Span(2, 5, ("B",), 0.5)
    assert outermost([inner, outer]) == [outer]
    assert outermost([Span(2, 5, ("B",), 0.95), outer]) == [Span(2, 5, ("B",), 0.95), outer]
