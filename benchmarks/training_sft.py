"""Supervised fine-tuning on a CPU: Tuneward against TRL's SFTTrainer, on the same rows in the same order.

Each is a process of its own, one optimizer step a turn; both begin with the same adapter (rank 16 on all linear
layers) and train in bf16. The matrix products that cannot be avoided are measured alone, in turns between the others.

    python -m benchmarks.training_sft BASE_FOLDER [--against best|packing|defaults] [--turns 12]
"""

from benchmarks.courses import SFT_SETTINGS
from benchmarks.side_by_side import Trial, run

TRIAL = Trial(
    method="sft",
    unit="tokens",
    settings=SFT_SETTINGS,
    learning_rate=2e-4,
    band=0.02,
    step_rows=16,
    window_tokens=1024,
)

if __name__ == "__main__":
    run(TRIAL, __doc__)
