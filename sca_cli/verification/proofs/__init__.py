"""The proofs after the paper's filter, one file each. A new proof is a new file here and its line in `PROOFS`.

The paper keeps a task if its check accepts the solution and rejects three failure cases. Such a task can still have a
fault: the check accepts a program that does nothing, or another answer; it rejects the same answer tomorrow; the
solution does not need the tools; the check has a condition that no failure case tries; the instruction leaves out what
the check asks for, or gives the answer away. Each proof looks for one of these faults in a `Trial`, and yields a
`Finding` for each.

Not here: the proofs `duplicate` and `agreement`, which compare a task with other tasks and with attempts at it.
"""

from collections.abc import Callable, Iterator

from sca_cli.records import Finding
from sca_cli.verification.proofs.conditions_tried import conditions_tried
from sca_cli.verification.proofs.deterministic import deterministic
from sca_cli.verification.proofs.literals_known import literals_known
from sca_cli.verification.proofs.no_leak import no_leak
from sca_cli.verification.proofs.no_op import no_op
from sca_cli.verification.proofs.random_calls import random_calls
from sca_cli.verification.proofs.tools_used import tools_used
from sca_cli.verification.proofs.wrong_accepted import wrong_accepted
from sca_cli.verification.trial import Trial

PROOFS: dict[str, Callable[[Trial], Iterator[Finding]]] = {
    "no-op": no_op,
    "random": random_calls,
    "wrong": wrong_accepted,
    "deterministic": deterministic,
    "tools": tools_used,
    "conditions": conditions_tried,
    "leak": no_leak,
    "literals": literals_known,
}
"""Name of the stage → function, in the order of the funnel."""
