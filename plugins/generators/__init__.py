"""Generators of the environments' data and held-out tasks. Run from the repository root; not in the wheel."""
