"""Score models: pass@k, intervals, overlap with training data; run benchmarks as suites."""
