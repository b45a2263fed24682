"""Exploring an environment without a model: calls are made of what the environment itself shows.

`documented` reads values out of documentation, `values` says which values a parameter can be given, `explorer` makes
the calls and learns from their results and refusals.
"""
