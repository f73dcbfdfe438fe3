"""What every test stands on: silent libraries, and one thread per process, which tiny models run fastest on."""

import os

from tuneward.settings import silence

silence()
os.environ.setdefault("OMP_NUM_THREADS", "1")
