"""Reads programs and answers as text; runs nothing."""
