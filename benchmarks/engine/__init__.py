"""Topic models against their peers: ``python -m benchmarks.engine`` (what is measured and how: docs/engine.md)."""
