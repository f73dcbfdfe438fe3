import re
import threading

import pytest

from tuneward.ids import is_id, new_id


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (new_id("key"), True),
        (new_id("apr"), False),
        ("key_", False),
        ("tuneward-" + "x" * 43, False),
        (new_id("key") + "0", False),
        (new_id("key") + "\n", False),
        (new_id("key").upper(), False),
    ],
)
def test_an_id_is_told_from_other_text(text, known):
    assert is_id(text, "key") is known


def test_form():
    assert re.fullmatch(r"run_[0-9a-hjkmnp-tv-z]{26}", new_id("run"))


def test_strictly_increasing_and_unique_among_threads():
    made: list[list[str]] = [[] for _ in range(4)]

    def work(mine: list[str]) -> None:
        mine.extend(new_id("x") for _ in range(2000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in made)
    assert len({name for mine in made for name in mine}) == 8000


def test_a_clock_set_back_does_not_bring_ids_back(monkeypatch):
    before = new_id("x")
    monkeypatch.setattr("tuneward.ids.time.time_ns", lambda: 1_000_000)
    assert new_id("x") > before
