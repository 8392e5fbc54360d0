"""Benchmarks: each a program, ``python -m benchmarks.NAME``. Figures compare within one run."""
