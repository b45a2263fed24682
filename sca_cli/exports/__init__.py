"""Write tasks and rollouts in the formats of other systems: one module a format.

A format is a function `export(source, folder)`, see `source.Exporter`. The hook `sca_register_exporters` registers it.
`attempt` is no format: exported packages import it to run the tools and the check of a task.
"""

from sca_cli.hookspecs import Register, hookimpl


@hookimpl
def sca_register_exporters(register: Register) -> None:
    """Register the formats that come with sca."""
    register("chat", "sca_cli.exports.chat:export", help="conversations for SFT: axolotl, LLaMA-Factory, unsloth")
    register(
        "hf", "sca_cli.exports.hf:export", help="a data set for the Hugging Face hub: parquet and card", extra="hf"
    )
    register("trl", "sca_cli.exports.trl:export", help="prompts and environment classes for TRL's GRPOTrainer")
    register("verifiers", "sca_cli.exports.verifiers:export", help="a package with a taskset for verifiers 0.4")
