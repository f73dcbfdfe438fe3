"""Benchmarks for one CUDA device that run unattended, without a network and without a model file.

They need this package with its extra ``test`` (torch built for CUDA, transformers, bitsandbytes; peft and trl for the
peer's side, which is left out, and that is said, where they are absent). Models have true shapes and random weights.
"""
