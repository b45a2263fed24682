"""The proof `tools`: the solution must need the tools."""

from collections.abc import Iterator

from sca_cli.analysis import source
from sca_cli.records import Finding
from sca_cli.verification.trial import Trial


def tools_used(trial: Trial) -> Iterator[Finding]:
    """Reject a task whose solution does not need the tools: it changes nothing, and its answer uses no tool result.

    A refusal counts as a result, if the answer depends on it.

    Also reports calls of the solution that failed, and writing tools that the check called (blocked writes).
    """
    successful_calls = [call for call in trial.calls if not call.error]
    changes_state = any(call.writes for call in successful_calls)
    # A refusal is information too, such as that an order does not exist. A call with wrong arguments tells nothing.
    if all(call.error.startswith("TypeError: ") for call in trial.calls):
        yield Finding("tools", "no tool call of the solution succeeds")
    elif not changes_state and trial.solution.answer is None and not trial.gives_answer:
        yield Finding("tools", "the solution neither changes anything nor answers")
    elif not changes_state and not source.depends(trial.task.solution, {tool.name for tool in trial.tools}):
        yield Finding("tools", "the answer does not depend on what the tools return")
    if blocked := sorted({call.tool for call in trial.reads if call.refused}):
        yield Finding(
            "tools", f"the check calls {', '.join(blocked)}, which writes: the call is blocked", rejects=False
        )
    if refused := len(trial.calls) - len(successful_calls):
        yield Finding("tools", f"{refused} of the solution's calls were refused", rejects=False)
