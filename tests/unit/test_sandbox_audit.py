"""The audit: tools that run their arguments as code are found, and their environments refused."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from evaluating import Guilty, Innocent

from sca_cli import plugins
from sca_cli.errors import PluginError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Sandbox
from sca_cli.sandbox.inside.audit import evaluators, refuse_evaluators


def methods(cls: type) -> list[Any]:
    """Return the bound methods of an instance, as parameters of a test."""
    names = [name for name, _ in inspect.getmembers(cls, inspect.isfunction)]
    return [pytest.param(getattr(cls(), name), id=name) for name in names]


@pytest.mark.parametrize("method", methods(Guilty))
def test_what_runs_its_argument_is_found(method: Callable[..., Any]) -> None:
    """Every way of running an argument is found, with its file and line, also in functions it refers to."""
    found = evaluators(method)
    assert found
    assert all(re.match(r"evaluating\.py:\d+: \S", place) for place in found)


@pytest.mark.parametrize("method", methods(Innocent))
def test_what_only_looks_like_it_is_left_alone(method: Callable[..., Any]) -> None:
    """Literal arguments, fixed names and namesakes are no findings."""
    assert evaluators(method) == []


def test_the_line_is_that_of_the_call() -> None:
    """The audit names the line of the call itself, also through partial objects."""
    (place,) = evaluators(functools.partial(Guilty().by_function, "1"))
    line = inspect.getsourcelines(inspect.getmodule(Guilty))[0][int(place.split(":")[1]) - 1]  # type: ignore[arg-type]
    assert place.endswith(": eval(text, {})")
    assert "eval(text, {})" in line


def test_functions_without_source_give_no_finding() -> None:
    """What has no Python source cannot be read."""
    assert evaluators(len) == []


@pytest.mark.parametrize("name", sorted(plugins.registry().environments))
def test_environments_that_come_with_sca_pass(name: str) -> None:
    """No tool of ours runs its arguments as code."""
    entry = plugins.registry().environments[name]
    if entry.argument or entry.plugin == "suites":
        pytest.skip("its tools are somebody else's")
    refuse_evaluators(plugins.import_target(entry)())


@pytest.mark.sandbox
def test_an_environment_that_evaluates_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world with such a tool does not start: the error names the tool, the line and the cure."""
    entry = plugins.Entry("evaluating", "evaluating:Evaluating", "evaluates", "", "tests")
    monkeypatch.setitem(plugins.registry().environments, "evaluating", entry)
    with Sandbox() as sandbox, pytest.raises(PluginError) as raised:
        sandbox.describe(EnvSpec(name="evaluating"))
    assert re.search(r"tool 'calculate' may run its arguments as code: evaluating\.py:\d+: eval", str(raised.value))
    assert "isolated = True" in raised.value.hint
