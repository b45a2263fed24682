"""The `python` plugin: any Python file or module as an environment; its typed, documented functions are the tools."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `python`."""
    register(
        "python",
        "sca_python.environment:PythonEnvironment",
        help="the functions of a Python file or module, or the methods of a class in it: FILE_OR_MODULE[:CLASS]",
        argument="target",
    )
