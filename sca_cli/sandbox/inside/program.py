"""Run the turns of a program, or one check, in the children of the program zygote. Runs inside the jail.

After the first hostile byte has run, nothing here is trusted: hostile code can rewrite every function of this module in
its own process. But the process holds only its job socket and one tool-call link, so it can send only what its code
could send anyway.
"""

import _ast
import _socket
import contextlib
import io
import itertools
import json
import os
import sys
import time
import types
from typing import Any

from sca_cli.sandbox import wire
from sca_cli.sandbox.inside.confine import Confinement, Rehearsal
from sca_cli.sandbox.inside.zygote import LINK, await_start

_ORDER_BYTES = 1 << 26
_MESSAGE_CHARS = 4000
_TRACE_LINES = 12
_REHEARSALS = 40
_REHEARSED: dict[str, dict[str, Any]] = {
    "program": {"code": "x = [tool(n, key=str(n)) for n in (1, 2)]\nprint(end='')\nfinal_answer({'x': x[0]})"},
    "check": {"source": "def evaluate(answer):\n    return answer['x'] == tool(1)", "answer": {"x": 1}},
}
_VARARGS = 0x04  # inspect.CO_VARARGS


class ToolError(Exception):
    """A tool refused the call; the message gives the reason."""


class _ArgumentError(ToolError, TypeError):
    """A call was refused because its arguments do not fit the tool. Its shown name is that of Python's exception."""


_ArgumentError.__name__ = _ArgumentError.__qualname__ = "TypeError"


class _Answered(BaseException):
    """Raised to end a program that gave its final answer. `except Exception` does not catch it."""


_link = wire.Channel(LINK)


def _call(tool: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        payload = wire.dumps([tool, args, kwargs])
    except (TypeError, ValueError) as error:
        raise _ArgumentError(f"{tool}(): {error}") from None
    try:
        _link.send(payload)
        tag, value = json.loads(_link.receive(_ORDER_BYTES))
    except (EOFError, OSError):
        # The world has closed the link, because a limit was exceeded or the world failed. The host knows this and will
        # soon kill this process.
        while True:
            time.sleep(60)
    if tag == "result":
        return value
    raise (ToolError if tag == "refused" else _ArgumentError)(value)


def _stub(description: dict[str, Any]) -> Any:
    name = description["name"]

    def tool(*args: Any, **kwargs: Any) -> Any:
        return _call(name, args, kwargs)

    tool.__name__ = tool.__qualname__ = name
    tool.__module__ = "__main__"
    tool.__doc__ = f"{description['signature']}\n\n{description['description']}"
    return tool


class ProgramRole:
    """The role "program": for each environment, a namespace with its tool functions, built before the forks."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._memory_mb: int = order["memory_mb"]
        self._cpu_s: int = order["cpu_s"]
        self._mains: dict[str, types.ModuleType] = {}
        self._out = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", "backslashreplace", line_buffering=True)
        sys.stdout = sys.stderr = self._out
        ToolError.__module__ = "__main__"
        self._rehearse()

    def learn(self, key: str, value: Any) -> None:
        """Build the main module for an environment's programs.

        Args:
            key: the name that requests use for it.
            value: the descriptions of its tools.
        """
        main = types.ModuleType("__main__")
        main.__dict__.update({tool["name"]: _stub(tool) for tool in value}, ToolError=ToolError)
        self._mains[key] = main

    def needs(self) -> tuple[int, int, int]:
        """Return the limits of its children, as the arguments of `Confinement.prepare`."""
        return LINK + 1, self._memory_mb, self._cpu_s

    def live(self, job: _socket.socket, confinement: Confinement) -> None:
        """Serve `program KEY` (with descriptors for link and output) or `check KEY` (with a link)."""
        with contextlib.suppress(EOFError):
            (kind, key), channel = await_start(job, (LINK, 1))
            if kind == "program":
                os.dup2(1, 2)
            confinement.apply()
            main = sys.modules["__main__"] = self._mains[key]
            (self._take_turns if kind == "program" else _check)(channel, main.__dict__)

    def _take_turns(self, job: wire.Channel, namespace: dict[str, Any]) -> None:
        answer = _Answer()
        namespace["final_answer"] = answer.final_answer
        for turn in itertools.count(1):
            self._take_turn(job, turn, namespace, answer)

    def _take_turn(self, job: wire.Channel, turn: int, namespace: dict[str, Any], answer: "_Answer") -> None:
        order = json.loads(job.receive(_ORDER_BYTES))
        answer.is_set = False
        reason, message = _run_turn(order["code"], turn, namespace)
        with contextlib.suppress(OSError, ValueError):  # the program may have closed its own output
            self._out.flush()
        head = json.dumps({"reason": reason, "message": message, "answered": answer.is_set})
        job.send(head[:-1].encode() + b',"answer":' + answer.text + b"}")

    def _rehearse(self) -> None:
        """Rehearse programs and checks before the first fork.

        Running code fills the interpreter's caches and adapts its bytecode. Before the fork, this fills pages that all
        children share. In a child, each write would copy a page.
        """
        main = sys.modules["__main__"]
        for _ in range(_REHEARSALS):
            self.learn("rehearsal", [{"name": "tool", "signature": "", "description": ""}])
            for kind, order in _REHEARSED.items():
                self._rehearse_life(kind, order)
        del self._mains["rehearsal"]
        sys.modules["__main__"] = main

    def _rehearse_life(self, kind: str, order: dict[str, Any]) -> None:
        (ours, theirs), (far, near) = _socket.socketpair(), _socket.socketpair()
        _link.fd = near.fileno()
        far.sendall(wire.frame(b'["result",1]') * 2)
        ours.sendall(wire.frame(f"{kind} rehearsal".encode()) + wire.frame(wire.dumps(order)))
        ours.shutdown(_socket.SHUT_WR)
        self.live(theirs, Rehearsal())
        for end in (ours, theirs, far, near):
            end.close()
        _link.fd = LINK
        _link.buffer.clear()


class _Answer:
    """The value that the program passed to `final_answer`, as JSON text."""

    def __init__(self) -> None:
        self.is_set = False
        self.text = b"null"

    def final_answer(self, answer: Any) -> None:
        """Give the final answer, which must be made of JSON types, and end the program."""
        try:
            self.text = wire.dumps(answer)
        except (TypeError, ValueError) as error:
            raise TypeError(f"final_answer(): {error}") from None
        self.is_set = True
        raise _Answered


def _run_turn(code: str, turn: int, namespace: dict[str, Any]) -> tuple[str, str]:
    """Run one turn and, as in a notebook, print the value of a last expression. Return reason and message."""
    filename = "<program>" if turn == 1 else f"<program {turn}>"
    try:
        body, last = _compile(code, filename)
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


def _compile(code: str, filename: str) -> tuple[types.CodeType, types.CodeType | None]:
    """Return the compiled code, and separately the last expression if the code ends with one."""
    # Parsing to a tree costs three times as much as compiling. Code whose last line calls `final_answer` needs no tree,
    # because that line has no value to print.
    if code.rstrip().rpartition("\n")[2].startswith("final_answer("):
        return compile(code, filename, "exec", dont_inherit=True), None
    tree: Any = compile(code, filename, "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
    last = None
    if tree.body and isinstance(tree.body[-1], _ast.Expr):
        last = compile(_ast.Expression(tree.body.pop().value), filename, "eval", dont_inherit=True)
    return compile(tree, filename, "exec", dont_inherit=True), last


def _syntax_message(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        text = (error.text or "").rstrip()[:200]
        return f"  line {error.lineno}\n    {text.strip()}\n{type(error).__name__}: {error.msg}"
    return f"{type(error).__name__}: {error}"[:_MESSAGE_CHARS]


def _message(error: BaseException, filename: str, code: str) -> str:
    """Return the exception with its traceback within the model's code. The exception object itself may be hostile."""
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


def _check(job: wire.Channel, namespace: dict[str, Any]) -> None:
    order = json.loads(job.receive(_ORDER_BYTES))
    job.send(json.dumps(_judge(order["source"], order["answer"], namespace)).encode())


def _judge(source: str, answer: Any, namespace: dict[str, Any]) -> dict[str, Any]:
    """Run a check. Return {"verdict": True or False}, or {"reason", "message"} if it returned neither."""
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
        return {
            "reason": "not-bool",
            "message": f"evaluate returned {type(verdict).__name__}, not True or False",
        }
    return {"verdict": verdict}
