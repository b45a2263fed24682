"""Arithmetic on whole numbers."""


def add(a: int, b: int) -> int:
    """Return the sum."""
    return a + b


def subtract(a: int, b: int) -> int:
    """Return what is left of a when b is taken away."""
    return a - b


def multiply(a: int, b: int) -> int:
    """Return the product."""
    return a * b


def larger(a: int, b: int) -> int:
    """Return the larger one."""
    return max(a, b)
