"""Judges attempts with a benchmark's own code; a process of its own, run by `test_suites_differential.py`.

Arguments: suite, path of the checkout ("" for tau2), domain, split. Standard input: a list of cases. A case of TauBench
has the task's name, calls as [tool, arguments], `said` (what the agent says at the end) and `ended` (the customer then
leaves). A case of M3ToolEval has the task's name and the text of an answer. Standard output: whether each passes.

No model is called. Packages for models, which the benchmarks import at the top, are empty modules here.
"""

import importlib
import importlib.abc
import importlib.machinery
import io
import json
import sys
import types
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

_REPLACEABLE = ("litellm", "pandas", "tqdm", "IPython", "tenacity", "rich", "gymnasium", "redis", "fastapi", "requests")

type Case = dict[str, Any]


class _Empty(types.ModuleType):
    """A module, or a name in it, that has every attribute and may be called."""

    __path__: list[str] = []  # noqa: RUF012  as of a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda *_, **__: None})


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds those of `_REPLACEABLE` that are not installed, as empty modules."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        del path, target
        return importlib.machinery.ModuleSpec(name, self) if name.partition(".")[0] in _REPLACEABLE else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing."""


class _Customer:
    """Leaves at the first message, or never."""

    def __init__(self, leaves: bool) -> None:
        self._reply = "###STOP###" if leaves else "And?"

    def reset(self, instruction: str | None = None) -> str:
        del instruction
        return "Hello."

    def step(self, content: str) -> str:
        del content
        reply, self._reply = self._reply, ""  # the benchmark sends the reference's own messages while it judges
        return reply

    def get_total_cost(self) -> float:
        return 0.0


def taubench(path: str, domain: str, split: str, cases: list[Case]) -> list[bool]:
    """Play each case in the benchmark's environment; the last step's reward decides."""
    for name in ("tau_bench", "tau_bench.envs", f"tau_bench.envs.{domain}"):
        package = types.ModuleType(name)
        package.__path__ = [str(Path(path, *name.split(".")))]
        sys.modules[name] = package
    make = getattr(importlib.import_module(f"tau_bench.envs.{domain}.env"), f"Mock{domain.title()}DomainEnv")
    action = importlib.import_module("tau_bench.types").Action
    env = make(user_strategy="human", user_model="", task_split=split, task_index=0)

    def passes(case: Case) -> bool:
        env.user = _Customer(case["ended"])
        env.reset(task_index=int(case["task"]))
        for tool, arguments in [*case["calls"], ["respond", {"content": case["said"]}]]:
            response = env.step(action(name=tool, kwargs=arguments))
            if response.done:
                return bool(response.reward == 1)
        return False

    return list(map(passes, cases))


def tau2(_: str, domain: str, split: str, cases: list[Case]) -> list[bool]:
    """Play each case in the package's environment, and judge the messages with its evaluator."""
    evaluate = importlib.import_module("tau2.evaluator.evaluator")
    message = importlib.import_module("tau2.data_model.message")
    simulation = importlib.import_module("tau2.data_model.simulation")
    world = importlib.import_module(f"tau2.domains.{domain}.environment")
    task_by_name = {str(task.id): task for task in world.get_tasks(split)}

    def passes(case: Case) -> bool:
        environment, messages = world.get_environment(), []
        for place, (tool, arguments) in enumerate(case["calls"]):
            call = message.ToolCall(id=str(place), name=tool, arguments=arguments, requestor="assistant")
            messages.append(message.AssistantMessage(role="assistant", content=None, tool_calls=[call]))
            messages.append(environment.get_response(call))
        messages.append(message.AssistantMessage(role="assistant", content=case["said"] or "Hello."))
        task = task_by_name[case["task"]]
        run = simulation.SimulationRun(
            id="x", task_id=task.id, start_time="", end_time="", duration=0, messages=messages,
            termination_reason="user_stop" if case["ended"] else "max_steps",
        )  # fmt: skip
        kind = evaluate.EvaluationType.ALL
        reward = evaluate.evaluate_simulation(
            simulation=run, task=task, evaluation_type=kind, solo_mode=False, domain=domain
        )
        return bool(reward.reward == 1)

    return list(map(passes, cases))


def m3tooleval(path: str, _: str, __: str, cases: list[Case]) -> list[bool]:
    """Let each task check the answer that it reads from a reply."""
    sys.path.insert(0, str(Path(path, "scripts/eval/m3tooleval")))
    base = importlib.import_module("tasks.base")
    importlib.import_module("tasks")
    task_by_name = {task.name: task for tasks, _ in base.task_iterators for task in tasks}

    def passes(case: Case) -> bool:
        task = task_by_name[case["task"]]
        return bool(task.check_answer(task.parse_generation(f"Answer: {case['answer']}")["content"]))

    return list(map(passes, cases))


if __name__ == "__main__":
    suite, *where = sys.argv[1:]
    sys.meta_path.append(_Absent())
    judge = {"taubench": taubench, "tau2": tau2, "m3tooleval": m3tooleval}[suite]
    given = json.load(sys.stdin)
    with redirect_stdout(io.StringIO()):  # the benchmarks print
        passed = judge(*where, given)
    print(json.dumps(passed))
