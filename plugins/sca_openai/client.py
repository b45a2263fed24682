"""`openai:NAME[,base_url=URL,k=v…]`: a model behind a server with the OpenAI chat API.

Requests contain fields and features that not every server supports, such as two fields that only vLLM defines:
`return_token_ids`, because training needs token ids, and `include_stop_str_in_output`. If a server's error names one,
we retry without it and never send it to that server again; `refusals` reads these errors. A change that affects the
results is reported once on stderr.
"""

import asyncio
import ipaddress
import math
import os
import random
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from sca_cli import Completion, Message, MissingError, ModelError, Sampling, Tool, visible
from sca_openai.refusals import LIMITS, SYSTEM, TEMPERATURES, UNTYPED, Refusal
from sca_openai.wire import (
    BrokenReplyError,
    adapted,
    completion_of,
    decoded,
    request_of,
    stopped_in_reasoning,
    words_of,
)

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_RESPONSE_BYTES = 1 << 26
"""Largest response that is read. Token ids and log-probabilities take about 100 bytes a token."""
_PAUSE_S = (0.5, 8.0)
"""First and longest pause before a retry in seconds; each pause is twice as long as the one before. Chosen by hand."""
_LONGEST_WAIT_S = 60.0
"""Longest pause before a retry in seconds, if a server's `Retry-After` asks for as much or more."""
_HOPELESS_S = 600.0
"""A server whose `Retry-After` asks for more seconds, as for a limit of the day, is not asked again. Chosen by hand."""
_RETRIED = {408, 409, 425, 429}
"""Status codes after which the request is repeated; all 5xx are too."""

_EFFECTS = {
    SYSTEM: "the system message begins the first user message instead",
    UNTYPED: "each parameter without a type is described as one of any type",
    TEMPERATURES: "replies are sampled at temperature 1",
    "temperature": "replies are sampled at the server's own temperature",
    "top_p": "replies are sampled with the server's own top_p",
    "tools": "tools are described in the prompt only",
    "stop": "replies are cut after they are complete",
    "seed": "another run samples other replies",
    "logprobs": "the records contain no log-probabilities, so training cannot use them",
}
"""Feature → effect of giving it up, for the report on stderr. The others have none."""


class OpenAIModel:
    """Call one model of one server.

    Args:
        name: the server's name for the model.
        base_url: the server's URL; default: `OPENAI_BASE_URL`, else OpenAI's own server. A query (`?api-version=…`) is
            sent with each request.
        api_key_env: environment variable that holds the key; your own server may need no key.
        concurrency: maximum number of requests at the same time.
        timeout_s: timeout of a request in seconds.
        max_retries: retries after lost connections, unreadable replies and the status codes 408, 409, 425, 429 and 5xx,
            with growing pauses.
        token_ids: `false` does not request token ids.
        seed: `false` sends no seeds, so that another run samples other replies.

    Raises:
        ImportError: the openai library is not installed.
        MissingError: the server is OpenAI's own, and there is no key.
        ValueError: an option or the key has an invalid value.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str = "",
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: str = "64",
        timeout_s: str = "600",
        max_retries: str = "4",
        token_ids: str = "true",
        seed: str = "true",
    ) -> None:
        import aiohttp  # noqa: F401  the transport; a missing library fails here, not at the first call
        import openai  # noqa: F401  as above

        self._name = name
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL", "")
        if self._base_url and not self._base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url={self._base_url} does not begin with http:// or https://")
        self._api_key = os.environ.get(api_key_env, "").strip()
        if not self._api_key.isascii() or not self._api_key.isprintable():
            raise ValueError(f"the key in {api_key_env} contains a line break, or a character that a key cannot have")
        if not self._api_key and not self._base_url:
            raise MissingError(f"{api_key_env} is not set", f"export {api_key_env}=… or give base_url=URL")
        self._concurrency = int(_number("concurrency", int(concurrency), least=1))
        self._timeout_s = _number("timeout_s", float(timeout_s), least=0.001)
        self._max_retries = int(_number("max_retries", int(max_retries), least=0))
        self._given_up: set[str] = set()
        if not _flag("token_ids", token_ids):
            self._given_up.add("return_token_ids")
        if not _flag("seed", seed):
            self._given_up.add("seed")
        self._answered = False
        self._reasons = False
        """The model's replies contain reasoning. Stop texts are then not sent: they would end the reasoning."""
        self._last_failure = ""
        """The server's last error in its own words, for the message about a server that is gone."""
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = asyncio.Semaphore(self._concurrency)

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Reply to each conversation, see `Model.generate`.

        Raises:
            MissingError: the first call cannot connect, or the server rejects the key or does not have the model.
            ModelError: the server failed, timed out, withheld the reply or sent an unreadable one; the message quotes
                the server.
        """
        client = await self._open()
        calls = [
            asyncio.ensure_future(self._reply(client, messages, sampling, sampling.seed + index, tools))
            for index, messages in enumerate(conversations)
        ]
        try:
            return list(await asyncio.gather(*calls))
        finally:
            for call in calls:
                call.cancel()

    async def close(self) -> None:
        """Close the connections, on the event loop that opened them."""
        client, loop, self._client, self._loop = self._client, self._loop, None, None
        if client is None or loop is None or loop.is_closed():
            return
        if loop is asyncio.get_running_loop():
            await client.close()
        elif loop.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.close(), loop))

    async def _open(self) -> "AsyncOpenAI":
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:  # connections belong to the loop that opened them
            from openai import AsyncOpenAI, DefaultAioHttpClient

            await self.close()
            url = urlsplit(self._base_url)
            query = dict(parse_qsl(url.query))
            self._client = AsyncOpenAI(
                api_key=self._api_key or "none",
                base_url=url._replace(query="").geturl() or None,
                default_query=query,
                default_headers={"api-key": self._api_key} if "api-version" in query else None,  # Azure reads this one
                timeout=self._timeout_s,
                max_retries=0,  # `_reply` retries, because it also retries unreadable replies
                http_client=DefaultAioHttpClient(timeout=self._timeout_s, trust_env=not _is_local(url.hostname or "")),
            )
            self._loop = loop
            self._gate = asyncio.Semaphore(self._concurrency)
        return self._client

    async def _reply(
        self,
        client: "AsyncOpenAI",
        messages: Sequence[Message],
        sampling: Sampling,
        seed: int,
        tools: Sequence[Tool],
    ) -> Completion:
        """Send one request until it is answered: without features that the server rejects, and again after failures."""
        import openai

        request = request_of(self._name, messages, sampling, seed, tools)
        without: set[str] = set()  # given up for this request only
        lowered = False
        failures = 0
        async with self._gate:
            while True:
                left_out = self._given_up | without | ({"stop"} if self._reasons else set())
                body = adapted(request, messages, left_out)
                try:
                    completion = completion_of(decoded(await self._post(client, body)), sampling.stop)
                except openai.APIStatusError as error:
                    refusal = _refusal(error)
                    self._last_failure = f"{refusal.status}: {refusal.words}"
                    if refusal.is_too_long():
                        # Most servers reject a prompt if prompt and reply limit together exceed the context window. So
                        # retry once with a smaller limit before we report that the prompt is too long.
                        room = 0 if lowered else refusal.room(sampling.max_tokens)
                        if room < 1:
                            return Completion("", "context")
                        request, lowered = request | dict.fromkeys(LIMITS, room), True
                        continue
                    if "logprobs" in body and "not JSON compliant" in refusal.words:
                        without.add("logprobs")  # this reply has a token of probability 0
                        continue
                    if rejected := refusal.given_up(body, answered=self._answered) - left_out:
                        self._give_up(rejected, refusal)
                        continue
                    failure: Exception = self._mapped(refusal)
                    pause_s = _retry_after_s(error)
                    retried = refusal.status in _RETRIED or refusal.status >= 500
                    failures += 1 if retried and (pause_s or 0) <= _HOPELESS_S else self._max_retries + 1
                except (openai.APIConnectionError, TimeoutError) as error:
                    failure, pause_s = self._unreachable(client, error), None
                    failures += 1
                except BrokenReplyError as error:
                    failure, pause_s = error, None
                    failures += 1
                else:
                    self._answered = True
                    self._reasons = self._reasons or bool(completion.reasoning) or "</think>" in completion.text
                    if "stop" in body and stopped_in_reasoning(completion, sampling.stop):
                        self._reasons = True
                        continue
                    return completion
                if failures > self._max_retries:
                    raise failure
                await asyncio.sleep(_pause_s(failures) if pause_s is None else min(pause_s, _LONGEST_WAIT_S))

    async def _post(self, client: "AsyncOpenAI", body: dict[str, Any]) -> bytes:
        """Send a request and return the body of the response.

        Raises:
            openai.APIStatusError, openai.APIConnectionError: see there.
            BrokenReplyError: the body is too large, or the connection was lost before its end.
            TimeoutError: it is not complete in time.
        """
        import openai

        extra = {key: value for key, value in body.items() if key not in ("model", "messages")}
        content = bytearray()
        create = client.chat.completions.with_streaming_response.create
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                create(model=self._name, messages=body["messages"], extra_body=extra) as response,
            ):
                async for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > _RESPONSE_BYTES:
                        raise BrokenReplyError(f"the server's reply is larger than {_RESPONSE_BYTES >> 20} MiB")
        except (openai.OpenAIError, TimeoutError, BrokenReplyError):
            raise
        except Exception as error:  # the transport's errors have no common base class
            raise BrokenReplyError(f"the server's reply broke off: {type(error).__name__}: {error}") from error
        return bytes(content)

    def _give_up(self, rejected: set[str], refusal: Refusal) -> None:
        """Remember the features that the server rejects, and report the loss once."""
        for feature in sorted(rejected - self._given_up):
            if effect := _EFFECTS.get(feature):
                text = f"sca: openai:{self._name} rejects {feature}: {refusal.words[:200]}"
                print(visible(text), file=sys.stderr)
                print(visible(f"hint: {effect}"), file=sys.stderr, flush=True)
        self._given_up |= rejected

    def _mapped(self, refusal: Refusal) -> MissingError | ModelError:
        message = f"the server says {refusal.status}: {refusal.words}"
        if self._answered:
            return ModelError(message)  # key and model are right
        if refusal.status in (401, 403) and not refusal.is_moderation():
            return MissingError(message, "set the key in the variable that api_key_env names")
        if refusal.status == 404 or refusal.is_unknown_model():
            return MissingError(message, f"does the server serve '{self._name}', and does base_url end in /v1?")
        return ModelError(message)

    def _unreachable(self, client: "AsyncOpenAI", error: BaseException) -> MissingError | ModelError:
        # The aiohttp transport reports a refused connection as a timeout as well. Only the causes differ.
        causes: list[BaseException] = [error]
        while cause := causes[-1].__cause__:
            causes.append(cause)
        if any(isinstance(cause, TimeoutError) for cause in causes):
            return ModelError(f"no reply within {self._timeout_s:g} s from {client.base_url}")
        message = f"no connection to {client.base_url}: {causes[-1]}"
        if self._last_failure:
            return ModelError(f"{message}; before that the server said {self._last_failure}")
        if self._answered:
            return ModelError(message)
        return MissingError(message, "start the server, or name another with base_url=URL")


def _refusal(error: "APIStatusError") -> Refusal:
    """Return the refusal in an error response."""
    value: Any = error.body
    value = value[0] if isinstance(value, list) and value else value
    inner = value.get("error", value) if isinstance(value, dict) else {}
    field, code = (str(inner.get(key) or "") if isinstance(inner, dict) else "" for key in ("param", "code"))
    detail = value.get("detail") if isinstance(value, dict) else None
    if isinstance(detail, list) and detail and isinstance(detail[0], dict) and isinstance(detail[0].get("loc"), list):
        field = str(detail[0]["loc"][-1])
    return Refusal(error.status_code, words_of(value or error.response.text or "(no message)"), field, code)


def _retry_after_s(error: "APIStatusError") -> float | None:
    """Return the pause that the server asks for in seconds, or None."""
    try:
        pause_s = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return pause_s if math.isfinite(pause_s) and pause_s >= 0 else None


def _pause_s(failures: int) -> float:
    shortest, longest = _PAUSE_S
    pause_s: float = min(shortest * 2 ** (failures - 1), longest)
    return pause_s * random.uniform(0.75, 1)  # so that not all requests come back at once


def _number(option: str, value: float, *, least: float) -> float:
    if not least <= value < math.inf:
        raise ValueError(f"{option}={value:g} is not a number of at least {least:g}")
    return value


def _flag(option: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{option}={text} is neither true nor false")
    return text.lower() == "true"


def _is_local(host: str) -> bool:
    """Return whether a host is this machine; a proxy cannot reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
