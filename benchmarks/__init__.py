"""Figures of the documentation, each made by a script: ``python -m benchmarks.<name>``."""
