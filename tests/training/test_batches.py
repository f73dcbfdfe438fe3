from hypothesis import given, settings
from hypothesis import strategies as st

from tuneward.training.batches import Window, plan_steps
from tuneward.training.rows import Row


def fake_rows(sizes):
    import numpy as np

    return [
        Row(f"r{i}", np.arange(size, dtype=np.int32), np.arange(size, dtype=np.int32)) for i, size in enumerate(sizes)
    ]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    epochs=st.sampled_from([0.3, 1.0, 2.5]),
    batch=st.integers(1, 120),
    window=st.integers(1, 120),
    seed=st.integers(0, 3),
)
def test_no_row_is_cut_or_lost_and_rooms_are_kept(sizes, epochs, batch, window, seed):
    import math

    rows = fake_rows(sizes)
    steps = plan_steps(rows, epochs=epochs, batch_tokens=batch, window_tokens=window, seed=seed)
    order = [index for step in steps for part in step.windows for index in part]
    assert len(order) == math.ceil(len(sizes) * epochs - 1e-9)
    for start in range(0, len(order) - len(sizes) + 1, len(sizes)):
        assert sorted(order[start : start + len(sizes)]) == list(range(len(sizes)))
    for step in steps:
        assert step.tokens == sum(sizes[i] for part in step.windows for i in part)
        assert step.tokens <= batch or sum(len(part) for part in step.windows) == 1
        assert step.trained == sum(rows[i].trained for part in step.windows for i in part)
        for part in step.windows:
            assert sum(sizes[i] for i in part) <= window or len(part) == 1


def test_no_step_holds_rows_of_two_epochs():
    steps = plan_steps(fake_rows([5] * 7), epochs=2.5, batch_tokens=20, window_tokens=20, seed=0)
    taken = [[index for part in step.windows for index in part] for step in steps]
    assert [len(step) for step in taken] == [4, 3, 4, 3, 4]
    assert all(len(set(step)) == len(step) for step in taken)


def test_order_follows_the_seed_and_differs_between_epochs():
    rows = fake_rows([5] * 30)

    def order(seed):
        steps = plan_steps(rows, epochs=2, batch_tokens=20, window_tokens=20, seed=seed)
        return [index for step in steps for part in step.windows for index in part]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1)[:30] != order(1)[30:]
    # a seed means this order for good: a change of it would change what "same seed" gives
    assert order(0)[:8] == [8, 24, 21, 10, 16, 29, 12, 4]


def test_a_window_learns_the_next_token_inside_each_document_only():
    import numpy as np

    one = Row("a", np.array([5, 6, 7], dtype=np.int32), np.array([-100, -100, 7], dtype=np.int32))
    two = Row("b", np.array([8, 9], dtype=np.int32), np.array([8, 9], dtype=np.int32))
    window = Window.pack([one, two])
    assert window.ids.tolist() == [[5, 6, 7, 8, 9]]
    assert window.places.tolist() == [1, 3]  # 6 → 7 and 8 → 9; never 7 → 8, though 8 carries a label
    assert window.targets.tolist() == [7, 9]
    assert window.layout.lengths == (3, 2)
    assert window.records == ("a", "b")


def test_the_windows_of_a_step_are_few_and_of_about_the_same_size():
    rows = fake_rows([90, 10, 10, 10, 40, 40])
    (step,) = plan_steps(rows, epochs=1, batch_tokens=200, window_tokens=100, seed=0)
    assert sorted(sum(rows[i].size for i in window) for window in step.windows) == [100, 100]
    (step,) = plan_steps(rows, epochs=1, batch_tokens=200, window_tokens=150, seed=0)
    assert sorted(sum(rows[i].size for i in window) for window in step.windows) == [100, 100]  # not 150 and 50


def test_a_number_of_rows_may_make_a_step():
    steps = plan_steps(fake_rows([5] * 7), epochs=1, batch_tokens=1, batch_rows=3, window_tokens=10, seed=0)
    assert [sum(len(window) for window in step.windows) for step in steps] == [3, 3, 1]
    assert [step.weight for step in steps] == [12, 12, 4]
