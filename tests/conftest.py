"""What every test stands on: silent libraries, one thread per process, which tiny models run fastest on, and Ctrl-C."""

import os
import signal

from tuneward.settings import silence

silence()
os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited from a shell that put the tests into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
