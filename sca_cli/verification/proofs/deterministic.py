"""The proof `deterministic`: the programs must have the same results when they run again."""

import ast
from collections.abc import Iterator

from sca_cli.analysis import source
from sca_cli.records import Finding
from sca_cli.verification.trial import Trial, in_secret_order

_TWINS = 4
"""Twins that run a task with sets, because the order of a set changes with the hash seed. One twin runs other tasks.
Chosen by hand; not measured.
"""
_CHANCE = {
    "random", "time", "time_ns", "now", "today", "utcnow", "uuid1", "uuid4", "secrets", "id", "hash", "urandom",
    "getpid", "getppid", "gettid", "get_native_id", "getrandom", "monotonic", "perf_counter", "process_time", "times",
    "clock_gettime", "tempfile", "fstat", "/dev/urandom", "/dev/random", "environ", "environb", "getenv",
}  # fmt: skip
"""Names of clocks, sources of randomness and the process environment. A program that uses one can behave differently on
another day.
"""
_SETS = {"set", "frozenset"}


def deterministic(trial: Trial) -> Iterator[Finding]:
    """Reject a task whose programs have other results in a twin: other hash seed, other random numbers, other date.

    Also rejects programs that name a clock or a source of randomness, and reports programs that use the order of a set.
    """
    trees = {"check": source.parse(trial.task.evaluate), "solution": source.parse(trial.task.solution)}
    for name, tree in trees.items():
        if chance_names := sorted(_CHANCE & set(_foreign_names(tree))):
            yield Finding("deterministic", f"the {name} depends on {', '.join(chance_names)}")
            return
        if computed_names := sorted(set(source.computed_access(tree))):
            text = f"the {name} reaches names that cannot be read in it, by {', '.join(computed_names)}"
            yield Finding("deterministic", text, rejects=False)
    uses_sets = any(isinstance(node, ast.Set | ast.SetComp) for tree in trees.values() for node in ast.walk(tree))
    uses_sets = uses_sets or any(_SETS & set(source.names(tree)) for tree in trees.values())
    for twin in range(1, _TWINS + 1 if uses_sets else 2):
        checks = in_secret_order(trial.task, lambda name, text: trial.run(text, f"{name}@{twin}", twin, ""))  # noqa: B023
        trial.checks.extend(checks.values())
        for name, check in checks.items():
            if check.outcome != ("pass" if name == "solution" else "fail") or (
                name == "solution" and check.answer != trial.solution.answer
            ):
                yield Finding("deterministic", f"run again, {name} gives another result: {check.outcome}")
                return
    for name, tree in trees.items():
        if source.orders_a_set(tree):
            yield Finding("deterministic", f"the {name} uses the order of a set", rejects=False)


def _foreign_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a program uses but does not bind, and the paths under `/dev/` that it holds."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name) or node.id not in bound:
            yield from source.names_of(node)
        if isinstance(node, ast.Constant) and str(node.value).startswith("/dev/"):
            yield str(node.value)
    yield from source.names_as_texts(tree)
