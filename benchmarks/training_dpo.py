"""Preference tuning on a CPU: Tuneward against TRL's DPOTrainer, on the same pairs in the same order.

Each is a process of its own, one optimizer step a turn; both begin with the same adapter (rank 16 on all linear
layers) and train in bf16. The reference is counted on both sides, as in a first epoch: TRL passes each pair through it
within the step, Tuneward once before the first, and each of its turns carries its pairs' share of that time.

    python -m benchmarks.training_dpo BASE_FOLDER [--against best|defaults] [--turns 12]
"""

from benchmarks.courses import DPO_SETTINGS
from benchmarks.side_by_side import Trial, run

TRIAL = Trial(
    method="dpo",
    unit="pairs",
    settings=DPO_SETTINGS,
    learning_rate=1e-4,
    band=0.01,
    step_rows=16,
    window_tokens=1024,
)

if __name__ == "__main__":
    run(TRIAL, __doc__)
