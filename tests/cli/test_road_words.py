"""What `prepare` says: every reason and every action has words."""

import re
from pathlib import Path
from typing import get_args

from tuneward.cli.road import DONE, LEFT_OUT, said
from tuneward.data import card
from tuneward.domain.finding import Action


def test_every_action_has_words() -> None:
    assert set(DONE) == set(get_args(Action))


def test_every_reason_that_the_card_knows_has_words() -> None:
    page = Path(card.__file__).with_name("card.html").read_text(encoding="utf-8")
    found = re.search(r"{% set reasons = {(.*?)} %}", page)
    assert found is not None
    assert set(LEFT_OUT) == set(re.findall(r'"(\w+)": ', found.group(1)))


def test_what_was_found_is_said_in_words() -> None:
    part = {"read": 3, "kept": 1, "dropped": {"near_duplicate": 2}}
    counts = {"train": part, "test": {"read": 0, "kept": 0, "dropped": {}}, "findings": {"place": {"tag": 4}}}
    assert said(counts)[:1] == ["train: 3 read, 1 kept; left out: 2 nearly equal to another row"]
    assert "found place: 4 named and kept" in said(counts)
