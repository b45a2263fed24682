"""Generators of the data and the held-out tasks of `sca_calculation`."""
