"""Explore an environment without a model: the arguments of calls come from texts and results of the environment.

`documented` reads values from documentation, `values` lists values for a parameter, and `explorer` makes the calls and
learns from their results and refusals.
"""
