from tuneward.workflows import train


class Counted:
    def __init__(self):
        self.total, self.done = None, 0

    def begin(self, title, *, total=None, unit=""):
        self.total = total

    def advance(self, amount=1, **figures):
        self.done += amount


def test_a_run_that_goes_on_shows_what_was_done_before():
    step = {"event": "step", "loss": 1.0, "tokens_per_second": 9.0, "remaining_seconds": 1.0}
    events = [{"event": "plan", "steps": 5}, {"event": "resumed", "step": 3, "steps": 5}, step, step]
    progress = Counted()
    for event in events:
        train._show(event, progress)
    assert (progress.total, progress.done) == (5, 5)
