"""Hold one session's state and answer its tool calls, in the children of a world zygote. Runs inside the jail.

The code here and the environment are trusted; the arguments are not. Before a tool gets its arguments, they are bound
to its signature and compared with its types. Arguments that do not match are refused; for a program, this refusal is a
`ToolError` that is also a TypeError. After that, only `ToolError` is a refusal. Any other exception is a fault of the
environment and makes the session invalid.
"""

import _socket
import importlib
import inspect
import os
import select
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sca_cli.errors import MissingError, PluginError, ToolError, UsageError
from sca_cli.interfaces import Environment, Shown, Tool, tool
from sca_cli.sandbox import wire
from sca_cli.sandbox.inside.audit import refuse_evaluators
from sca_cli.sandbox.inside.confine import Confinement, mount
from sca_cli.sandbox.inside.inspection import INSPECTIONS
from sca_cli.sandbox.inside.zygote import CHECK_LINK, FOLDER, LINK, await_start
from sca_cli.toolkit import schemas

_LOG_REPLIES = 16  # the record of a caller's calls may have this many times `reply_bytes`
_FLUSH_BYTES = 1 << 20  # a longer record is sent before the host requests it
_ORDER_BYTES = 1 << 26
_WORLD_CPU = 10  # a world's limit, in units of a program's CPU seconds: it serves all turns of a session
_MESSAGE_CHARS = 2000
_REHEARSALS = 20


def build(target: str, options: dict[str, str]) -> Environment:
    """Construct the environment of a registry entry.

    Args:
        target: `package.module:factory`.
        options: keyword arguments of the factory.

    Raises:
        Exception: any exception of the plugin.
    """
    module, _, attribute = target.partition(":")
    factory = importlib.import_module(module)
    for name in attribute.split("."):
        try:
            factory = getattr(factory, name)
        except AttributeError:
            raise PluginError(f"{target} does not exist") from None
    try:
        environment = factory(**options)  # type: ignore[operator]
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise UsageError(str(error)) from error
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise MissingError(str(error)) from error
    if not isinstance(environment, Environment):
        raise PluginError(f"it is a {type(environment).__name__}, not a sca_cli.Environment")
    refuse_evaluators(environment)
    return environment


def _type_words(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(map(_type_words, schema["anyOf"]))
    return schemas.python_type(schema)


class _CheckedTool:
    """A tool, its method, and the data needed to bind and check its arguments."""

    def __init__(self, tool: Tool, method: Callable[..., Any]) -> None:
        self.tool = tool
        self.method = method
        self.signature = inspect.signature(method)
        properties = tool.parameters["properties"]
        parameters = self.signature.parameters.values()
        self._star = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
        self._parameters = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
        self.only_positional = {p.name for p in parameters if p.kind is p.POSITIONAL_ONLY}
        self.checks = {name: (schema, _type_words(schema)) for name, schema in properties.items()}
        plain = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self._names = [p.name for p in plain] if len(plain) == len(parameters) else []
        self._required_count = sum(p.default is p.empty for p in plain)

    def spread(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Turn named arguments into positional ones where Python needs it; a JSON tool call names all its arguments.

        Python needs it for `*args`, for the parameters before `*args`, and for those before a `/`. The values of
        `*args` arrive as an array.
        """
        values, rest = list(args), dict(kwargs)
        has_star = type(kwargs.get(self._star)) is list
        for parameter in self._parameters[len(args) :]:
            if not has_star and not rest.keys() & self.only_positional:
                break
            if parameter.name == self._star:
                values += rest.pop(self._star)
                break
            if parameter.name not in rest and parameter.default is parameter.empty:
                return args, kwargs  # a misfit: the parameter is missing
            values.append(rest.pop(parameter.name, parameter.default))
        return values, rest

    def misfit(self, args: list[Any], kwargs: dict[str, Any]) -> str:
        """Return Python's error message for arguments that do not match, or ""."""
        try:
            bound = self._bound(args, kwargs)
        except TypeError as error:
            return f"{self.tool.name}() {error}"
        for name, value in bound.items():
            schema, words = self.checks[name]
            if not schemas.fits(schema, list(value) if isinstance(value, tuple) else value):
                return f"{self.tool.name}() argument '{name}' must be {words}, not {_value_text(value)}"
        return ""

    def _bound(self, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        # Binding with the signature costs as much as the rest of a call. Most calls do not need it.
        if not kwargs and self._required_count <= len(args) <= len(self._names):
            return dict(zip(self._names, args, strict=False))
        return self.signature.bind(*args, **kwargs).arguments


def _value_text(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:80] + '…'}"


class WorldRole:
    """The role "world": one environment that is constructed once, then forked and reset for each session."""

    def __init__(self, order: dict[str, Any], environment: Environment) -> None:
        if environment.outside != order["outside"]:
            raise PluginError(
                f"its class says outside = {environment.outside}, its registration the opposite", "make both the same"
            )
        self._environment = environment
        self._order = order
        self._tools = _checked_tools(environment)
        self._rehearse()

    def ready(self) -> dict[str, Any]:
        """Return the environment's description for the host."""
        return {
            "tools": [asdict(tool.tool) for tool in self._tools.values()],
            "policy": str(self._environment.policy),
            "customer": bool(self._environment.customer),
            "isolated": self._environment.isolated,
        }

    def learn(self, key: str, value: Any) -> None:
        """Do nothing: a world has nothing to learn."""

    def needs(self) -> tuple[int, int, int]:
        """Return the limits of its children, as the arguments of `Confinement.prepare`."""
        return CHECK_LINK + 1, self._order["memory_mb"], self._order["cpu_s"] * _WORLD_CPU

    def live(self, job: _socket.socket, confinement: Confinement) -> None:
        """Serve `world SEED` (with the program's and the check's link) until the host closes the job."""
        try:
            (_, seed), channel = await_start(job, (LINK, CHECK_LINK, FOLDER))
        except EOFError:
            return
        if self._order["writable"]:
            mount(FOLDER, self._order["writable"])
        confinement.apply()
        if "random" in sys.modules:  # the environment imported it; all forks must get the same numbers
            sys.modules["random"].seed(0)
        _Service(self._environment, self._tools, self._order, channel, (LINK, CHECK_LINK)).serve(int(seed))

    def _rehearse(self) -> None:
        """Serve a small world before the first fork, so that caches and adapted bytecode are shared."""
        environment = _RehearsalEnvironment()
        request = wire.frame(wire.dumps(["echo", [{"x": ["y", 1]}], {"key": "z"}]))
        for _ in range(_REHEARSALS):
            (job, theirs), (program, link), (check, check_link) = (_socket.socketpair() for _ in range(3))
            job.sendall(wire.frame(b"world 0") + wire.frame(b'{"number":1}'))
            for asker in (program, check):
                asker.sendall(request)
            for ours in (job, program, check):
                ours.shutdown(_socket.SHUT_WR)
            _, channel = await_start(theirs, ())
            links = link.detach(), check_link.detach()
            _Service(environment, _checked_tools(environment), self._order, channel, links).serve(0)
            for ours in (job, theirs, program, check):
                ours.close()


class _RehearsalEnvironment(Environment):
    @tool
    def echo(self, value: dict[str, Any], *, key: str = "") -> Any:  # noqa: ARG002
        """Return the value."""
        return value


def _checked_tools(environment: Environment) -> dict[str, _CheckedTool]:
    return {name: _CheckedTool(tool, method) for name, (tool, method) in environment.tools().items()}


_QUESTIONS: dict[str, Callable[[Environment, Any], Any]] = {
    "ask": lambda environment, method: getattr(environment, method)(),
    "inspect": lambda environment, inspection: INSPECTIONS[inspection](environment),
    "restore": lambda environment, state: environment.restore(state),
    "allows": lambda environment, calls: [environment.allows(tool, arguments) for tool, arguments in calls],
}
"""Member of an order → the answer of the environment, from the member's value."""


class _Service:
    """One session's world: it answers tool calls and records them.

    Args:
        environment: this process's environment.
        tools: its tools.
        order: the limits.
        job: the channel of the host's requests.
        links: descriptors of the program's link and the check's.
    """

    def __init__(
        self,
        environment: Environment,
        tools: dict[str, _CheckedTool],
        order: dict[str, Any],
        job: wire.Channel,
        links: tuple[int, int],
    ) -> None:
        self._environment = environment
        self._tools = tools
        self._reply_bytes: int = order["reply_bytes"]
        self._most_calls: int = order["calls"]
        self._job = job
        self._links = {fd: wire.Channel(fd) for fd in links}
        self._check_fd = links[1]
        self._where = dict(zip((job.fd, *links), ("host", "program", "check"), strict=True))
        self._calls = dict.fromkeys(self._where, 0)
        self._log: list[bytes] = []
        self._checked = 0  # number of calls in the log that the check made
        self._pending = 0  # bytes in the log
        self._logged = dict.fromkeys(self._where, 0)  # caller → bytes of its calls' record
        self._failed = ""

    def serve(self, seed: int) -> None:
        """Set the state that belongs to `seed` and answer requests until the host closes the job."""
        try:
            self._environment.reset(seed)
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way
            self._fail(f"reset({seed})", error)
        self._poller = select.poll()
        for fd in (self._job.fd, *self._links):
            self._poller.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in self._poller.poll()]
            # Read the links first: calls that a program sent before its turn ended belong to that turn.
            for fd in ready:
                if fd in self._links:
                    self._serve_link(self._links[fd])
            if self._job.fd in ready and not self._serve_job():
                return

    def _serve_link(self, link: wire.Channel) -> None:
        """Execute the calls that arrived on a link. Close the link if it can bring no more."""
        if link.fd == self._check_fd and len(self._links) > 1:
            self._finish(next(iter(self._links)))  # the program is dead; its pending calls are executed first
        if not self._serve_frames(link):
            self._poller.unregister(link.fd)
            os.close(link.fd)
            del self._links[link.fd]

    def _finish(self, fd: int) -> None:
        """Execute all pending calls of a dead program or check."""
        while link := self._links.get(fd):
            self._serve_link(link)

    def _serve_frames(self, link: wire.Channel) -> bool:
        if self._failed or not link.feed():
            return False
        try:
            while (frame := link.next(self._reply_bytes)) is not None:
                if (reply := self._answer(frame, link.fd)) is None:
                    return False
                link.send(reply)
        except wire.FrameError as error:
            self._alarm(link.fd, "reply", str(error))
            return False
        except OSError:
            return False
        return True

    def _serve_job(self) -> bool:
        if not self._job.feed():
            return False
        while (frame := self._job.next(_ORDER_BYTES)) is not None:
            order = wire.loads(frame)
            state = b"null"
            for fd in [fd for fd in self._links if self._where[fd] in order.get("dead", ())]:
                self._finish(fd)
            if "tool" in order and not self._failed:
                self._answer(wire.dumps(order["tool"]), self._job.fd)
            elif not self._failed and (name := next((each for each in _QUESTIONS if each in order), "")):
                try:
                    state = wire.dumps(_QUESTIONS[name](self._environment, order[name]))
                except Exception as error:  # noqa: BLE001  a plugin may fail in any way
                    self._fail(f"{order[name] if name == 'ask' else name}()", error)
            self._report(order["number"], state=state)
        return True

    def _report(self, number: int, alarm: str = "", message: str = "", where: str = "", state: bytes = b"null") -> None:
        """Send a report with the calls since the last report.

        Number 0 is a report that was not requested: an alarm (the host may be waiting for a program that waits for this
        world) or a part of a long record.
        """
        if self._failed:
            alarm, message = "world", self._failed
        head = wire.dumps(
            {"number": number, "alarm": alarm, "message": message, "where": where, "checked": self._checked}
        )
        calls = b",".join(self._log)
        self._log.clear()
        self._checked = self._pending = 0
        self._job.send(b'%s,"calls":[%s],"state":%s}' % (head[:-1], calls, state))

    def _alarm(self, source: int, alarm: str, message: str) -> None:
        self._report(0, alarm, message, self._where[source])

    def _fail(self, where: str, error: BaseException) -> None:
        self._failed = f"{where}: {type(error).__name__}: {error}".encode(errors="replace").decode()[:_MESSAGE_CHARS]
        self._report(0)

    def _answer(self, frame: bytes, source: int) -> bytes | None:
        """Execute one call and record it. Return the reply, or None if the caller must be disconnected."""
        name, args, kwargs = self._request(frame)
        self._calls[source] += 1
        if self._calls[source] > self._most_calls:
            self._alarm(source, "calls", f"more than {self._most_calls} tool calls")
            return None
        entry = self._tools.get(name)
        if entry and (source == self._job.fd or entry.only_positional):
            args, kwargs = entry.spread(args, kwargs)
        try:
            record = wire.dumps({"tool": name, "args": args, "kwargs": kwargs})  # before the tool can change them
        except ValueError as error:
            raise wire.FrameError(str(error)) from None
        if not entry:
            return self._record(source, record, "misfit", f"no tool named '{name}'")
        if entry.tool.writes:
            record = record[:-1] + b',"writes":true}'
        if not self._environment.checks_arguments and (text := entry.misfit(args, kwargs)):
            return self._record(source, record, "misfit", text)
        if entry.tool.writes and source == self._check_fd:
            record = record[:-1] + b',"refused":true}'
            return self._record(source, record, "refused", f"{name}() changes the state, which a check may not")
        outcome = self._execute(entry, args, kwargs)
        return None if outcome is None else self._record(source, record, *outcome)

    def _request(self, frame: bytes) -> tuple[str, list[Any], dict[str, Any]]:
        """Return the tool name and the arguments of a call from an untrusted sender.

        Raises:
            wire.FrameError: the frame is not a tool call.
        """
        match wire.loads(frame):
            case [str() as name, list() as args, dict() as kwargs]:
                return name, args, kwargs
        raise wire.FrameError("not a tool call")

    def _execute(self, entry: _CheckedTool, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str, bytes] | None:
        """Execute a call. Return its tag, the refusal or the text of its result, and the result as JSON."""
        name, shown = entry.tool.name, ""
        try:
            value = entry.method(*args, **kwargs)
            if type(value) is Shown:
                value, shown = value.value, value.text
            try:
                result = wire.dumps(value)
            except (
                ValueError,
                RecursionError,
            ) as error:  # not finite, or too deep: a refusal, not a fault
                return "refused", f"{name}(): the result cannot be given: {error}", b"null"
        except ToolError as error:
            return "refused", str(error) or f"{name}() refused the call", b"null"
        except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin may fail in any way
            self._fail(f"{name}()", error)
            return None
        if len(result) > self._reply_bytes:
            return "refused", f"{name}(): a result of {len(result)} bytes is more than can be given", b"null"
        return "result", shown, result

    def _record(self, source: int, record: bytes, tag: str, text: str, result: bytes = b"null") -> bytes | None:
        if tag == "result":
            shown = b'"text":%s,' % wire.dumps(text) if text and source == self._job.fd else b""
            entry = b'%s,"error":"",%s"result":%s}' % (record[:-1], shown, result)
        else:
            error_text = f"TypeError: {text}" if tag == "misfit" else text
            entry = b'%s,"error":%s,"result":%s}' % (record[:-1], wire.dumps(error_text), result)
        self._log.append(entry)
        self._checked += source == self._check_fd
        self._logged[source] += len(entry)
        if self._logged[source] > _LOG_REPLIES * self._reply_bytes:
            self._alarm(source, "reply", f"tool calls of more than {self._logged[source]} bytes in all")
            return None
        self._pending += len(entry)
        if self._pending > _FLUSH_BYTES:
            self._report(0)
        return b'["%s",%s]' % (tag.encode(), result if tag == "result" else wire.dumps(text))
