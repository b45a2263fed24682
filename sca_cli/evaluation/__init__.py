"""Scores: pass@k, intervals, contamination; benchmarks as suites."""
