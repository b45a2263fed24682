"""`vllm:DIR_OR_HUB_ID[,k=v…]`: vLLM's asynchronous engine behind our model interface.

We render prompts to token ids with the model's chat template and send the ids to the engine. So prompts are the same
as the transformers plugin's. vLLM starts a separate process for the engine's core. In this process the engine runs on
an event loop in its own thread, because it can use only the loop it was started on, and callers may have several.
A script that uses this class needs the guard `if __name__ == "__main__":`, because the engine's process may import the
script again.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from sca_cli import Completion, Message, ModelError, Sampling, Tool
from sca_cli.toolkit.chat_format import ChatFormat, parse_tool_calls
from sca_cli.toolkit.model_files import load_generation_config, load_tokenizer, locate
from sca_cli.toolkit.replies import ends_in_reasoning

_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; only the CPU backend reads it, and its default is much larger
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


_BATCHED_TOKENS = 4096
"""Least number of tokens that vLLM computes at once on a CPU; about its own default."""


class VLLMModel:
    """Run a model with vLLM; the start takes about half a minute.

    Args:
        name: a model directory, or a hub id `OWNER/NAME`.
        dtype: torch type; or `auto`, the type that the weights are stored in.
        max_model_len: maximum tokens of prompt and reply together; 0 is the model's own window.
        gpu_memory_utilization: share of the GPU's memory that vLLM uses; ignored on a CPU.
        tensor_parallel_size: number of GPUs to split the model over.
        enforce_eager: `true` (do not compile), `false` (compile), or `auto` (compile on a GPU only).
        trust_remote_code: `true` runs Python code of the model's directory.
        seed: `false` sends no seeds, so that another run samples other replies.

    Raises:
        ImportError: vLLM is not installed.
        MissingError: the model does not exist.
        ModelError: the engine does not start; its own log on stderr has the reason.
        ValueError: an option is not a number.
    """

    def __init__(
        self,
        name: str,
        *,
        dtype: str = "auto",
        max_model_len: str = "0",
        gpu_memory_utilization: str = "0.9",
        tensor_parallel_size: str = "1",
        enforce_eager: str = "auto",
        trust_remote_code: str = "false",
        seed: str = "true",
    ) -> None:
        if seed.lower() not in ("true", "false"):
            raise ValueError(f"seed={seed} is neither true nor false")
        self._seeded = seed.lower() == "true"
        self._first_failure = ""
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        self._closed = False
        self._calls = 0
        with _stdout_to_stderr():
            options: dict[str, Any] = {
                "model": locate(name),
                "dtype": dtype,
                "max_model_len": int(max_model_len) or None,
                "gpu_memory_utilization": float(gpu_memory_utilization),
                "tensor_parallel_size": int(tensor_parallel_size),
                "enforce_eager": _eager(enforce_eager),
                "enable_prefix_caching": True,
                "disable_log_stats": True,
                "trust_remote_code": trust_remote_code.lower() == "true",
                "load_format": "safetensors",
            }
            self._chat = _chat(options["model"], name, trust_remote_code=options["trust_remote_code"])
            if _on_cpu():
                options |= _whole_prompts(
                    options["model"], options["max_model_len"], trust_remote_code=options["trust_remote_code"]
                )
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="sca-vllm", daemon=True)
            self._thread.start()
            try:
                self._engine: Any = self._on_loop(_start(options)).result()
            except ImportError:
                self._stop_loop()
                raise
            except Exception as error:
                self._stop_loop()
                last = (str(error).strip().splitlines() or [""])[-1]
                raise ModelError(f"vLLM does not start '{name}': {type(error).__name__}: {last}") from error
        self._window: int = self._engine.model_config.max_model_len

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Reply to each conversation, see `Model.generate`.

        Raises:
            ModelError: the engine failed or was closed, or the chat template rejects a conversation.
        """
        if self._closed:
            raise ModelError("the model is closed")
        prompts = [self._chat.encode(messages, tools) for messages in conversations]
        calls = [
            asyncio.wrap_future(self._on_loop(self._reply(prompt, sampling, sampling.seed + index, bool(tools))))
            for index, prompt in enumerate(prompts)
        ]
        try:
            return list(await asyncio.gather(*calls))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._closed and task and not task.cancelling():
                raise ModelError("the model was closed before the reply was complete") from error
            raise
        finally:
            for call in calls:
                call.cancel()

    async def close(self) -> None:
        """Stop the engine and its process."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        async def shut_down() -> None:
            self._engine.shutdown()
            pending = asyncio.all_tasks() - {asyncio.current_task()}
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

        self._on_loop(shut_down()).result()
        self._engine = None
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _on_loop[T](self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _reply(self, prompt: list[int], sampling: Sampling, seed: int, tools: bool) -> Completion:
        room = self._window - len(prompt)
        if room < 1:
            return Completion("", "context", len(prompt), prompt_ids=prompt)
        ids: list[int] = []
        logprobs: list[float] = []
        text = self._chat.opened_reasoning
        most = min(sampling.max_tokens, room)
        while True:
            output = await self._sample([*prompt, *ids], self._params(sampling, most - len(ids), seed))
            ids += output.token_ids
            steps = zip(output.token_ids, output.logprobs, strict=True)
            logprobs += [step[token].logprob for token, step in steps]
            text += output.text
            # A stop text in the reasoning ends nothing: sample on from there.
            stopped = output.finish_reason == "stop" and output.stop_reason in sampling.stop
            if not stopped or len(ids) >= most or not ends_in_reasoning(text):
                break
        text, calls = parse_tool_calls(text) if tools and self._chat.has_tools else (text, [])
        return Completion(
            text,
            "tool_calls" if calls else "length" if output.finish_reason == "length" else "stop",
            prompt_tokens=len(prompt),
            completion_tokens=len(ids),
            tool_calls=calls,
            prompt_ids=prompt,
            token_ids=ids,
            logprobs=logprobs,
        )

    async def _sample(self, prompt: list[int], params: Any) -> Any:
        """Return vLLM's only output for a prompt.

        Raises:
            ModelError: vLLM failed. A dead engine fails every later call, so the message quotes the first failure.
        """
        self._calls += 1
        try:
            async for output in self._engine.generate({"prompt_token_ids": prompt}, params, f"sca-{self._calls}"):
                last = output.outputs[0]
        except Exception as error:  # vLLM's errors have no more specific common base class
            failure = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self._first_failure = self._first_failure or failure
            first = f"; its first failure: {self._first_failure}" if failure != self._first_failure else ""
            raise ModelError(f"vLLM failed: {failure}{first}") from error
        return last

    def _params(self, sampling: Sampling, max_tokens: int, seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=max_tokens,
            stop=list(sampling.stop),
            stop_token_ids=sorted(self._chat.end_ids),
            include_stop_str_in_output=True,
            seed=seed & (2**63 - 1) if self._seeded else None,
            logprobs=0,  # only the sampled token's log-probability, before temperature
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


async def _start(options: dict[str, Any]) -> Any:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**options))


def _eager(text: str) -> bool:
    if text != "auto":
        return text.lower() == "true"
    return _on_cpu()


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _whole_prompts(path: str, max_model_len: int | None, *, trust_remote_code: bool) -> dict[str, Any]:
    """Return options with which vLLM never computes a prompt in parts.

    In vLLM 0.31 for CPUs, a request with a seed whose prompt is computed in parts ends the engine ("Generator does not
    use offset").
    """
    from transformers import AutoConfig

    window = (
        max_model_len
        or AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
        .get_text_config()
        .max_position_embeddings
    )
    return {"enable_chunked_prefill": False, "max_num_batched_tokens": max(window + 1, _BATCHED_TOKENS)}


def _chat(path: str, name: str, *, trust_remote_code: bool) -> ChatFormat:
    tokenizer = load_tokenizer(path, name, trust_remote_code=trust_remote_code)
    return ChatFormat(tokenizer, load_generation_config(path), name)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Redirect descriptor 1 to stderr while the engine's process starts.

    The process inherits the descriptor and prints to it, but our stdout must hold records only.
    """
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
