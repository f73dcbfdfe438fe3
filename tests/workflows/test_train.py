from tuneward.workflows import train

PLAN = {"event": "plan", "steps": 5, "tokens": 1234, "base_parameters": 900, "trained_parameters": 100}
PLAN |= {"memory": {"weights": 3 * 2**20, "slack": 0}, "peak_bytes": 4 * 2**20}


class Counted:
    def __init__(self):
        self.total, self.done, self.said = None, 0, []

    def begin(self, title, *, total=None, unit=""):
        self.total = total

    def advance(self, amount=1, **figures):
        self.done += amount

    def say(self, text):
        self.said.append(text)


def test_a_run_that_goes_on_shows_what_was_done_before():
    step = {"event": "step", "loss": 1.0, "tokens_per_second": 9.0, "remaining_seconds": 1.0}
    events = [PLAN, {"event": "resumed", "step": 3, "steps": 5}, step, step]
    progress = Counted()
    for event in events:
        train._show(event, progress)
    assert (progress.total, progress.done) == (5, 5)
    assert progress.said == [
        "100 of 1,000 parameters (10.0%), 1,234 tokens in 5 steps",
        "about 4 MiB at the peak: weights 3",
    ]


def test_measurements_and_warnings_are_lines():
    event = {"event": "validation", "step": 0, "loss": 2.5, "figures": {}, "best": False, "misses": 0, "ended": False}
    events = [
        event,
        event | {"step": 8, "loss": 1.25, "figures": {"accuracy": 0.75}, "best": True},
        event | {"step": 16, "misses": 1},
        event | {"step": 24, "misses": 2, "ended": True},
        {"event": "warning", "text": "MLflow is told no more"},
    ]
    progress = Counted()
    for one in events:
        train._show(one, progress)
    assert progress.said == [
        "before the first step: held-out loss 2.500",
        "after step 8: held-out loss 1.250, accuracy 0.750, the best so far",
        "after step 16: held-out loss 2.500, 1 without improvement",
        "after step 24: held-out loss 2.500, 2 without improvement; training ends early",
        "MLflow is told no more",
    ]


def test_the_first_steps_tell_how_long_it_takes():
    progress = Counted()
    train._show({"event": "estimate", "seconds": 90.4, "watts": 20.0, "watt_hours": 0.502, "windows": 6}, progress)
    (said,) = progress.said
    assert said == "about 1:30 min of steps, 0.5 Wh if it draws 20 W (estimate after 6 windows)"
