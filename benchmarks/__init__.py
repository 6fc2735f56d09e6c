"""Measurements that anyone can repeat: ``python -m benchmarks.<name>``. Results lie in ``benchmarks/results``."""
