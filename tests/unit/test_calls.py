"""A call as text."""

from sca_cli.analysis.calls import call_text


def test_a_call_is_written_as_python() -> None:
    """Positional arguments come before those by name; `show` writes the values."""
    assert call_text("lend", ["Ada's", 2], {"title": None}) == """lend("Ada's", 2, title=None)"""
    assert call_text("list", [], {}) == "list()"
    assert call_text("sum", [1], {"to": 2}, lambda value: f"<{value}>") == "sum(<1>, to=<2>)"
