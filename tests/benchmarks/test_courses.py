import pytest

from benchmarks.courses import SFT_SETTINGS, Setting, plan_course

SIZES = [10 + (37 * number) % 400 for number in range(200)]


@pytest.mark.parametrize("name", SFT_SETTINGS)
def test_no_row_comes_twice_and_each_pass_is_as_the_peer_would_make_it(name):
    setting = SFT_SETTINGS[name]
    steps = plan_course(SIZES, setting, step_rows=16, steps=8)
    rows = [row for step in steps for part in step for row in part]
    assert len(steps) == 8
    assert len(set(rows)) == len(rows)
    assert len({len(step) for step in steps}) == 1  # the peer accumulates one fixed number of passes
    for part in (part for step in steps for part in step):
        if setting.packed:
            assert sum(SIZES[row] for row in part) <= setting.packed
        else:
            assert len(part) == setting.batch


def test_length_groups_hardly_pad():
    def waste(setting):
        parts = [part for step in plan_course(SIZES, setting, step_rows=16, steps=10) for part in step]
        filled = sum(len(part) * max(SIZES[row] for row in part) for part in parts)
        return filled / sum(SIZES[row] for part in parts for row in part)

    assert waste(Setting("grouped", batch=4, grouped=True)) < 1.1 < 1.4 < waste(Setting("random", batch=4))


def test_packing_leaves_little_room():
    steps = plan_course(SIZES, SFT_SETTINGS["packing"], step_rows=16, steps=8)
    parts = [part for step in steps for part in step]
    assert sum(SIZES[row] for part in parts for row in part) > 0.95 * 1024 * len(parts)


def test_too_few_rows_are_said():
    with pytest.raises(SystemExit, match="20 rows give 1 steps, 3 are asked for"):
        plan_course(SIZES[:20], SFT_SETTINGS["best"], step_rows=16, steps=3)
