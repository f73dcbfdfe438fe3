"""Kernels in C for CPUs that multiply bf16 themselves; each has a way without it where its caller stands."""
