"""The `scripted` model plugin: replies come from a file, for tests, documentation and dry runs of a pipeline."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_models(register: Register) -> None:
    """Register `scripted:FILE`."""
    register(
        "scripted",
        "sca_scripted.script:ScriptedModel",
        help="replies from a JSONL file of rules: scripted:FILE",
    )
