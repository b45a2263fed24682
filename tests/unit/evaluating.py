"""Tools that run their arguments as code, each in its own way, and tools that only look as if they did."""

import builtins
import cProfile
import functools
import importlib
import inspect
import operator
import os
import pickle
import re
import subprocess
import sys
import timeit
from collections.abc import Callable
from typing import Any

from sca_cli import Environment, tool

_TABLE: dict[str, Callable[..., Any]] = {"run": eval, "add": operator.add}


def _deep(text: str) -> Any:
    return _deeper(text)


def _deeper(text: str) -> Any:
    return eval(text, {})


def _wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@_wrapping
def _wrapped(text: str) -> Any:
    return exec(text)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text

    def parse(self) -> Any:
        return compile(self.text, "", "eval")


class Guilty:
    """Each method runs its argument as code."""

    def by_eval(self, text: str) -> Any:
        return eval(text)

    def by_exec(self, text: str) -> None:
        exec(text, {})

    def by_alias(self, text: str) -> Any:
        run = eval
        return run(text)

    def by_import(self, name: str) -> Any:
        return __import__(name)

    def by_import_module(self, name: str) -> Any:
        return importlib.import_module(name)

    def by_pickle(self, data: str) -> Any:
        return pickle.loads(data.encode())

    def by_late_import(self, data: bytes) -> Any:
        from marshal import loads

        return loads(data)

    def by_shell(self, line: str) -> Any:
        return subprocess.run(line, shell=True, check=False)

    def by_system(self, line: str) -> int:
        return os.system(f"ls {line}")

    def by_getattr(self, name: str) -> Any:
        return getattr(self, name)

    def by_setattr(self, name: str) -> Any:
        setattr(self, name, 1)

    def by_methodcaller(self, name: str) -> Any:
        return operator.methodcaller(name)(self)

    def by_vars(self, name: str) -> Any:
        return vars(self)[name]

    def by_dict(self, name: str) -> Any:
        return type(self).__dict__.get(name)

    def by_globals(self, name: str) -> Any:
        return globals()[name]()

    def by_module(self, name: str) -> Any:
        return sys.modules[name]

    def by_builtins(self, text: str) -> Any:
        return builtins.__dict__["eval"](text)

    def by_getattribute(self, name: str) -> Any:
        return object.__getattribute__(self, name)

    def by_static(self, name: str) -> Any:
        return inspect.getattr_static(self, name)

    def by_timer(self, text: str) -> float:
        return timeit.Timer(text).timeit(1)

    def by_profile(self, text: str) -> None:
        cProfile.run(text)

    def by_attrgetter(self, name: str) -> Any:
        return operator.attrgetter(name)(self)

    def by_function(self, text: str) -> Any:
        return _deep(text)

    def by_map(self, texts: list[str]) -> Any:
        return list(map(_deeper, texts))

    def by_method(self, text: str) -> Any:
        return self.by_eval(text)

    def by_decorated(self, text: str) -> Any:
        return _wrapped(text)

    def by_class(self, text: str) -> Any:
        return _Parser(text).parse()

    def by_lambda(self, text: str) -> Any:
        return (lambda code: eval(code))(text)


class Innocent:
    """No method runs its argument, whatever it looks like."""

    def compiles_a_pattern(self, pattern: str) -> Any:
        return re.compile(pattern)

    def evaluates_a_literal(self, text: str) -> Any:
        return eval("1 + 1"), text

    def runs_a_fixed_program(self) -> Any:
        return subprocess.run(["/bin/true"], check=True)

    def gets_a_fixed_attribute(self, what: Any) -> Any:
        return getattr(what, "name", None)

    def reads_a_fixed_name(self, what: Any) -> Any:
        return vars(what)["name"], what.__dict__.get("size")

    def looks_up_in_a_table(self, name: str) -> Any:
        return {"name": 1}[name]

    def shadows_a_name(self, eval: Callable[..., Any]) -> Any:  # noqa: A002  the name is the point
        return eval(1)

    def calls_a_method_of_that_name(self, frame: Any) -> Any:
        return frame.eval("x")


class Evaluating(Environment):
    """A world whose tool runs its argument, and does not say so."""

    @tool
    def calculate(self, expression: str) -> float:
        """Calculate."""
        return float(_deep(expression))
