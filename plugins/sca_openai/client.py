"""`openai:NAME[,base_url=URL,k=v…]`: a model behind a server that speaks the OpenAI chat API.

Two extensions of vLLM are asked for and used where the server has them: `return_token_ids` (what training
reads) and `include_stop_str_in_output`. A server that refuses a field it does not know is asked again
without it, and the field is left out from then on. Without the second extension a stop text is missing from
the reply's end.
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
"""Newer servers of OpenAI refuse the first, older servers of others do not know the second: both are sent."""

_OPTIONAL = (
    *_LIMITS,
    "return_token_ids",
    "include_stop_str_in_output",
    "logprobs",
    "seed",
    "tools",
)
"""Fields that a server may refuse without the reply becoming another one than was asked for."""

_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|max_model_len|maximum model length|prompt is too long", re.IGNORECASE
)


class OpenAIModel:
    """Talk to one model of one server.

    Args:
        name: the model, as the server calls it.
        base_url: default: `OPENAI_BASE_URL`, else OpenAI's own.
        api_key_env: environment variable that holds the key; a server of your own may need none.
        concurrency: requests under way at once.
        timeout_s: seconds until a request is given up.
        max_retries: repeats after refused connections, 408, 409, 429 and 5xx, with growing pauses.
        token_ids: `false` does not ask for token ids.

    Raises:
        ImportError: the openai library is absent.
        MissingError: OpenAI's own server without a key.
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
        import aiohttp  # noqa: F401  the transport; absent, it would be missed at the first call only
        import openai  # noqa: F401  the same

        self._name = name
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL", "")
        self._api_key = os.environ.get(api_key_env, "")
        if not self._api_key and not self._base_url:
            raise MissingError(f"{api_key_env} is not set", f"export {api_key_env}=… or give base_url=URL")
        self._concurrency = int(concurrency)
        self._timeout_s = float(timeout_s)
        self._max_retries = int(max_retries)
        self._refused = set() if token_ids.lower() == "true" else {"return_token_ids"}
        self._answered = False
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate = asyncio.Semaphore(self._concurrency)

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Reply to each conversation, see `Model.generate`.

        Raises:
            MissingError: nobody answers at the first call, or the server knows neither key nor model.
            ModelError: the server failed; in its own words.
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
                sent = {key: value for key, value in (request | limits).items() if key not in self._refused}
                try:
                    response = await client.post("/chat/completions", body=sent, cast_to=object)
                except openai.APIStatusError as error:
                    if error.status_code == 400 and _TOO_LONG.search(_words(error)):
                        # Most servers refuse a prompt that fits when prompt and limit together do not.
                        limits = {key: value // 2 for key, value in limits.items()}
                        if not all(limits.values()):
                            return Completion("", "context")
                    elif not self._give_up(sent, error):
                        raise self._mapped(error) from error
                except openai.APIConnectionError as error:
                    raise self._unreachable(client, error) from error
                else:
                    self._answered = True
                    return completion_of(response)

    def _give_up(self, sent: dict[str, Any], error: "APIStatusError") -> bool:
        """Note which optional fields the server refuses; False when it is something else that it minds."""
        if error.status_code not in (400, 422):
            return False
        words = _words(error)
        optional = [field for field in _OPTIONAL if field in sent]
        if not sent.keys() >= set(_LIMITS):  # the last limit stays
            optional = [field for field in optional if field not in _LIMITS]
        named = sorted((match.start(), field) for field in optional if (match := re.search(rf"\b{field}\b", words)))
        if named:
            refused = {named[0][1]}  # "max_tokens is not supported, use max_completion_tokens": the first one
        elif "tools" in sent and "tool choice" in words:  # vLLM started without a parser for tool calls
            refused = {"tools"}
        else:
            refused = set() if self._answered else {"return_token_ids", "include_stop_str_in_output"} & sent.keys()
        self._refused |= refused
        return bool(refused)

    def _mapped(self, error: "APIStatusError") -> MissingError | ModelError:
        words = f"the server says {error.status_code}: {_words(error)}"
        if error.status_code in (401, 403):
            return MissingError(words, "set the key in the variable that api_key_env names")
        if error.status_code == 404:
            return MissingError(words, f"does the server serve '{self._name}', and does base_url end in /v1?")
        return ModelError(words)

    def _unreachable(self, client: "AsyncOpenAI", error: Exception) -> MissingError | ModelError:
        # The aiohttp transport reports a refused connection as a time-out too: the cause tells them apart.
        causes: list[BaseException] = [error]
        while cause := causes[-1].__cause__:
            causes.append(cause)
        if any(isinstance(cause, TimeoutError) for cause in causes):
            return ModelError(f"no reply within {self._timeout_s:g} s from {client.base_url}")
        words = f"no connection to {client.base_url}: {causes[-1]}"
        if self._answered:
            return ModelError(words)
        return MissingError(words, "start the server, or name another with base_url=URL")


def _words(error: "APIStatusError") -> str:
    """Return what the server said: the message of its error object, else the start of the body."""
    body: Any = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return " ".join(str(body or error.response.text).split())[:500]
