"""The former place of `sca_cli.toolkit.chat_format`, which `engine` still imports."""

from sca_cli.toolkit.chat_format import ChatFormat

__all__ = ["ChatFormat"]
