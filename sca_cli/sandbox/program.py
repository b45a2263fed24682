"""What the children of the program zygote do: run the turns of a program, or one check. Runs inside the jail.

Nothing here is trusted once the first hostile byte has run: the code can rewrite every function of this module in its
own process. It holds its job socket and one tool link, and can only say over them what it could have said anyway.
"""

import _ast
import io
import json
import os
import random
import sys
import time
import types
from typing import Any

from sca_cli.sandbox import wire
from sca_cli.sandbox.confine import Confinement
from sca_cli.sandbox.zygote import JOB, LINK

_ORDER_BYTES = 1 << 26
_MESSAGE_CHARS = 4000
_TRACE_LINES = 12
_VARARGS = 0x04  # inspect.CO_VARARGS


class ToolError(Exception):
    """A tool refused the call; the message says why."""


class _Answered(BaseException):
    """Ends a program that has given its final answer; `except Exception` does not stop it."""


_job = wire.Channel(JOB)
_link = wire.Channel(LINK)


def _call(tool: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        payload = wire.dumps([tool, args, kwargs])
    except (TypeError, ValueError) as error:
        raise TypeError(f"{tool}(): {error}") from None
    try:
        _link.send(payload)
        tag, value = json.loads(_link.receive(_ORDER_BYTES))
    except (EOFError, OSError):
        # The world has hung up: a limit was passed or it failed. The host knows and is about to end this process.
        while True:
            time.sleep(60)
    if tag == "result":
        return value
    raise (ToolError if tag == "refused" else TypeError)(value)


def _stub(description: dict[str, Any]) -> Any:
    name = description["name"]

    def tool(*args: Any, **kwargs: Any) -> Any:
        return _call(name, args, kwargs)

    tool.__name__ = tool.__qualname__ = name
    tool.__module__ = "__main__"
    tool.__doc__ = f"{description['signature']}\n\n{description['description']}"
    return tool


class Programs:
    """The role "program": one namespace of tool functions for each environment, built before the forks."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._memory_mb: int = order["memory_mb"]
        self._cpu_s: int = order["cpu_s"]
        self._stubs: dict[str, dict[str, Any]] = {}
        self._out = io.TextIOWrapper(
            io.FileIO(1, "w", closefd=False), "utf-8", "backslashreplace", line_buffering=True
        )
        self._main = types.ModuleType("__main__")
        ToolError.__module__ = "__main__"
        _run_turn("1", 1, {}, _Answer())  # the first compile of a process sets up tables worth sharing

    def learn(self, key: str, value: Any) -> None:
        """Build the tool functions of an environment.

        Args:
            key: the name by which requests call it.
            value: descriptions of its tools.
        """
        self._stubs[key] = {tool["name"]: _stub(tool) for tool in value}

    def live(self, words: list[str], fds: list[int], confinement: Confinement) -> None:
        """Serve `program KEY` (job, link, output) or `check KEY` (job, link)."""
        kind, key = words
        os.dup2(fds[0], JOB)
        os.dup2(fds[1], LINK)
        for fd in (1, 2) if kind == "program" else ():
            os.dup2(fds[2], fd)
        confinement.apply(LINK + 1, self._memory_mb, self._cpu_s)
        random.seed(0)
        sys.stdout = sys.stderr = self._out
        sys.modules["__main__"] = self._main
        namespace = self._main.__dict__
        namespace.update(self._stubs[key], ToolError=ToolError)
        if kind == "program":
            self._take_turns(namespace)
        else:
            order = json.loads(_job.receive(_ORDER_BYTES))
            _job.send(json.dumps(_judge(order["source"], order["answer"], namespace)).encode())

    def _take_turns(self, namespace: dict[str, Any]) -> None:
        answer = _Answer()
        namespace["final_answer"] = answer.final_answer
        turn = 0
        while True:
            order = json.loads(_job.receive(_ORDER_BYTES))
            turn += 1
            reason, message = _run_turn(order["code"], turn, namespace, answer)
            try:
                self._out.flush()
            except (OSError, ValueError):
                pass  # it closed its own output
            head = json.dumps({"reason": reason, "message": message, "answered": answer.given})
            _job.send(head[:-1].encode() + b',"answer":' + answer.text + b"}")


class _Answer:
    """What the program gave to `final_answer`, as JSON text."""

    def __init__(self) -> None:
        self.given = False
        self.text = b"null"

    def final_answer(self, answer: Any) -> None:
        """Give the final answer, which must be made of JSON types, and end the program."""
        try:
            self.text = wire.dumps(answer)
        except (TypeError, ValueError) as error:
            raise TypeError(f"final_answer(): {error}") from None
        self.given = True
        raise _Answered


def _run_turn(code: str, turn: int, namespace: dict[str, Any], answer: _Answer) -> tuple[str, str]:
    """Run one turn as a notebook would: the value of a last expression is echoed. Return reason and message."""
    filename = "<program>" if turn == 1 else f"<program {turn}>"
    try:
        tree = compile(code, filename, "exec", 0x400, dont_inherit=True)  # ast.PyCF_ONLY_AST
        last = None
        if tree.body and isinstance(tree.body[-1], _ast.Expr):
            last = compile(_ast.Expression(tree.body.pop().value), filename, "eval", dont_inherit=True)
        body = compile(tree, filename, "exec", dont_inherit=True)
    except MemoryError:
        return "memory", "MemoryError: the program is too large to compile"
    except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
        return "syntax", _syntax_message(error)
    try:
        exec(body, namespace)
        value = eval(last, namespace) if last else None
        if value is not None:
            namespace["_"] = value
            print(repr(value))
    except _Answered:
        pass
    except MemoryError as error:
        return "memory", _message(error, filename, code)
    except SystemExit as error:
        if error.code not in (None, 0):
            return "exception", _message(error, filename, code)
    except BaseException as error:  # noqa: BLE001  the program may raise anything
        return "exception", _message(error, filename, code)
    return "", ""


def _syntax_message(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        text = (error.text or "").rstrip()[:200]
        return f"  line {error.lineno}\n    {text.strip()}\n{type(error).__name__}: {error.msg}"
    return f"{type(error).__name__}: {error}"[:_MESSAGE_CHARS]


def _message(error: BaseException, filename: str, code: str) -> str:
    """Return the exception and its traceback within the model's code; the exception itself may be hostile."""
    try:
        lines = code.splitlines()
        trace: list[str] = []
        step = error.__traceback__
        while step:
            frame = step.tb_frame.f_code
            if frame.co_filename.startswith("<program"):
                trace.append(f"  line {step.tb_lineno}, in {frame.co_name}")
                if frame.co_filename == filename and 0 < step.tb_lineno <= len(lines):
                    trace[-1] += f"\n    {lines[step.tb_lineno - 1].strip()[:200]}"
            step = step.tb_next
        if len(trace) > _TRACE_LINES:
            trace[_TRACE_LINES // 2 : -_TRACE_LINES // 2] = ["  …"]
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        head = "Traceback (most recent call last):\n" if trace else ""
        return head + "\n".join([*trace, text[:_MESSAGE_CHARS]])
    except BaseException:  # noqa: BLE001  its __str__ may raise anything
        return "an exception that cannot be shown"


def _judge(source: str, answer: Any, namespace: dict[str, Any]) -> dict[str, Any]:
    """Run a check. Return {"verdict": True or False}, or {"reason", "message"} when it gave neither."""
    try:
        code = compile(source, "<program>", "exec", dont_inherit=True)
    except MemoryError:
        return {"reason": "memory", "message": "MemoryError: the check is too large to compile"}
    except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
        return {"reason": "syntax", "message": _syntax_message(error)}
    try:
        exec(code, namespace)
        evaluate = namespace.get("evaluate")
        if type(evaluate) is not types.FunctionType:
            return {"reason": "no-evaluate", "message": "the check defines no function 'evaluate'"}
        wants = evaluate.__code__.co_argcount or evaluate.__code__.co_flags & _VARARGS
        verdict = evaluate(answer) if wants else evaluate()
    except MemoryError as error:
        return {"reason": "memory", "message": _message(error, "<program>", source)}
    except BaseException as error:  # noqa: BLE001  the check may raise anything
        return {"reason": "exception", "message": _message(error, "<program>", source)}
    if type(verdict) is not bool:
        return {"reason": "not-bool", "message": f"evaluate returned {type(verdict).__name__}, not True or False"}
    return {"verdict": verdict}
