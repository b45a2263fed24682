"""`openai:NAME[,base_url=URL,k=v…]`: a model behind a server with the OpenAI chat API.

Requests contain two fields that only vLLM defines: `return_token_ids`, because training needs token ids, and
`include_stop_str_in_output`. If a server rejects a field it does not know, we retry without the field and never send
it to that server again. Without `include_stop_str_in_output` the reply does not end with the stop text.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sca_cli import Completion, Message, MissingError, ModelError, Sampling, Tool
from sca_openai.wire import completion_of, request_of

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_LIMITS = ("max_tokens", "max_completion_tokens")
"""Requests contain both: newer OpenAI servers reject the first, and older servers of others ignore the second."""

_OPTIONAL = (
    *_LIMITS,
    "return_token_ids",
    "include_stop_str_in_output",
    "logprobs",
    "seed",
    "tools",
)
"""Fields that we drop if a server rejects them, because the reply stays usable without them."""

_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|max_model_len|maximum model length|prompt is too long", re.IGNORECASE
)


class OpenAIModel:
    """Call one model of one server.

    Args:
        name: the server's name for the model.
        base_url: the server's URL; default: `OPENAI_BASE_URL`, else OpenAI's own server.
        api_key_env: environment variable that holds the key; your own server may need no key.
        concurrency: maximum number of requests at the same time.
        timeout_s: timeout of a request in seconds.
        max_retries: retries after refused connections and the status codes 408, 409, 429 and 5xx, with growing
            pauses.
        token_ids: `false` does not request token ids.

    Raises:
        ImportError: the openai library is not installed.
        MissingError: the server is OpenAI's own, and there is no key.
        ValueError: an option is not a number.
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
    ) -> None:
        import aiohttp  # noqa: F401  the transport; a missing library fails here, not at the first call
        import openai  # noqa: F401  as above

        self._name = name
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL", "")
        self._api_key = os.environ.get(api_key_env, "")
        if not self._api_key and not self._base_url:
            raise MissingError(f"{api_key_env} is not set", f"export {api_key_env}=… or give base_url=URL")
        self._concurrency = int(concurrency)
        self._timeout_s = float(timeout_s)
        self._max_retries = int(max_retries)
        self._rejected_fields = set() if token_ids.lower() == "true" else {"return_token_ids"}
        self._answered = False
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = asyncio.Semaphore(self._concurrency)

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Reply to each conversation, see `Model.generate`.

        Raises:
            MissingError: the first call cannot connect, or the server rejects the key or does not have the model.
            ModelError: the server failed or timed out; the message quotes the server.
        """
        client = await self._open()
        calls = [
            asyncio.ensure_future(
                self._reply(client, request_of(self._name, messages, sampling, sampling.seed + index, tools))
            )
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
            self._client = AsyncOpenAI(
                api_key=self._api_key or "none",
                base_url=self._base_url or None,
                timeout=self._timeout_s,
                max_retries=self._max_retries,
                http_client=DefaultAioHttpClient(timeout=self._timeout_s),
            )
            self._loop = loop
            self._gate = asyncio.Semaphore(self._concurrency)
        return self._client

    async def _reply(self, client: "AsyncOpenAI", request: dict[str, Any]) -> Completion:
        import openai

        limits = {key: request[key] for key in _LIMITS}
        async with self._gate:
            while True:
                body = {key: value for key, value in (request | limits).items() if key not in self._rejected_fields}
                try:
                    response = await client.post("/chat/completions", body=body, cast_to=object)
                except openai.APIStatusError as error:
                    if error.status_code == 400 and _TOO_LONG.search(_message(error)):
                        # Most servers reject a prompt if prompt and reply limit together exceed the context window.
                        # So retry with a smaller limit before we report that the prompt is too long.
                        limits = {key: value // 2 for key, value in limits.items()}
                        if not all(limits.values()):
                            return Completion("", "context")
                    elif not self._drop_rejected(body, error):
                        raise self._mapped(error) from error
                except openai.APIConnectionError as error:
                    raise self._unreachable(client, error) from error
                else:
                    self._answered = True
                    return completion_of(response)

    def _drop_rejected(self, body: dict[str, Any], error: "APIStatusError") -> bool:
        """Remember the optional fields that the server rejects; return False if it rejects something else."""
        if error.status_code not in (400, 422):
            return False
        message = _message(error)
        optional = [field for field in _OPTIONAL if field in body]
        if not body.keys() >= set(_LIMITS):  # at least one limit must remain
            optional = [field for field in optional if field not in _LIMITS]
        named = sorted((match.start(), field) for field in optional if (match := re.search(rf"\b{field}\b", message)))
        if named:
            rejected = {named[0][1]}  # the first one: "max_tokens is not supported, use max_completion_tokens"
        elif "tools" in body and "tool choice" in message:  # vLLM started without a parser for tool calls
            rejected = {"tools"}
        else:
            rejected = set() if self._answered else {"return_token_ids", "include_stop_str_in_output"} & body.keys()
        self._rejected_fields |= rejected
        return bool(rejected)

    def _mapped(self, error: "APIStatusError") -> MissingError | ModelError:
        message = f"the server says {error.status_code}: {_message(error)}"
        if error.status_code in (401, 403):
            return MissingError(message, "set the key in the variable that api_key_env names")
        if error.status_code == 404:
            return MissingError(message, f"does the server serve '{self._name}', and does base_url end in /v1?")
        return ModelError(message)

    def _unreachable(self, client: "AsyncOpenAI", error: Exception) -> MissingError | ModelError:
        # The aiohttp transport reports a refused connection as a timeout as well. Only the causes differ.
        causes: list[BaseException] = [error]
        while cause := causes[-1].__cause__:
            causes.append(cause)
        if any(isinstance(cause, TimeoutError) for cause in causes):
            return ModelError(f"no reply within {self._timeout_s:g} s from {client.base_url}")
        message = f"no connection to {client.base_url}: {causes[-1]}"
        if self._answered:
            return ModelError(message)
        return MissingError(message, "start the server, or name another with base_url=URL")


def _message(error: "APIStatusError") -> str:
    """Return the message of the server's error object, or the start of the response body if there is none."""
    body: Any = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return " ".join(str(body or error.response.text).split())[:500]
