"""The plugin of the environment `library`, in which members borrow and return books."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `library`."""
    register(
        "library",
        "sca_library.environment:LibraryEnvironment",
        help="members borrow books and bring them back; limit= books a member may hold",
    )
