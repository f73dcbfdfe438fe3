"""Row digests: sorted arrays answer what dictionaries would."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuneward.data.row_digests import DigestTable, RowDigests, digests_of
from tuneward.domain.record import Message, Record, Source

letters = st.sampled_from([bytes([n]) * 16 for n in range(6)])
rows = st.lists(st.tuples(letters, letters, letters), max_size=25)


@given(rows, st.data())
def test_tables_answer_as_dictionaries(rows, data):
    table = DigestTable()
    for whole, claim, counter in rows:
        table.add(RowDigests([], whole, claim, counter))
    first: dict[bytes, int] = {}
    assert table.repeated().tolist() == [first.setdefault(whole, n) for n, (whole, _, _) in enumerate(rows)]
    kept = [number for number in range(len(rows)) if data.draw(st.booleans())]
    claimed: dict[bytes, int] = {}
    wanted = []
    for place, number in enumerate(kept):
        _, claim, counter = rows[number]
        wanted.append(claimed.get(counter, -1))
        claimed.setdefault(claim, place)
    assert table.contradicted(np.array(kept, dtype=np.int64)).tolist() == wanted


def record(answer, rejected=None, desirable=None):
    messages = (Message("system", "s"), Message("user", "Q"), Message("assistant", answer))
    worse = None if rejected is None else Message("assistant", rejected)
    return Record("r", messages, Source("f", "", 1), None, "train", rejected=worse, desirable=desirable)


def test_what_contradicts_what():
    assert digests_of(record("a")).counter == digests_of(record("b")).claim, "the same prompt, another answer"
    turned, pair = digests_of(record("b", "a")), digests_of(record("a", "b"))
    assert (pair.counter, pair.claim) == (turned.claim, turned.counter)
    good, bad = digests_of(record("a", desirable=True)), digests_of(record("a", desirable=False))
    assert (good.counter, good.claim) == (bad.claim, bad.counter)
    passage = digests_of(Record("r", (Message("document", "t"),), Source("f", "", 1), None, "train"))
    assert passage.prompts == [passage.whole]
    assert passage.counter not in (passage.claim, passage.whole)
    assert {len(part) for row in (turned, good, passage) for part in (row.whole, row.claim, row.counter)} == {16}
