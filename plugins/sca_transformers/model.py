"""`transformers:DIR_OR_HUB_ID[,k=v…]`: the plugin's model class."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sca_cli import Completion, Message, Sampling, Tool, ask_for_huge_pages
from sca_cli.toolkit.chat_format import ChatFormat, parse_tool_calls
from sca_cli.toolkit.replies import find_stop

if TYPE_CHECKING:
    import torch

    from sca_transformers.engine import Row


class TransformersModel:
    """Run a causal language model of transformers in this process; concurrent calls share one running batch.

    Completions carry the engine's own token ids and log-probabilities. The same conversation and seed in the same
    batch give the same tokens. In another batch bfloat16 rounds differently, so two almost equally likely tokens may
    change places, and the reply continues differently from there.

    Args:
        name: a model directory, or a hub id `OWNER/NAME`.
        dtype: torch type of weights and cache; `auto` is bfloat16 where the hardware multiplies it, else float32.
        device: torch device; `auto` is the GPU if there is one, else the CPU.
        batch: maximum number of conversations that run at once; the others wait.
        threads: torch threads; default: `OMP_NUM_THREADS`, else the number of cores.
        max_context: maximum tokens of prompt and reply together; default: the model's own window.
        prefix_mb: memory in MiB for keys and values of finished conversations, whose prefixes are reused.
        trust_remote_code: `true` runs Python code of the model's directory.

    Raises:
        ImportError: torch or transformers is not installed.
        MissingError: the model does not exist or cannot be loaded.
        ValueError: an option has an invalid value.
    """

    def __init__(
        self,
        name: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        batch: str = "32",
        threads: str = "0",
        max_context: str = "0",
        prefix_mb: str = "1024",
        trust_remote_code: str = "false",
    ) -> None:
        # Idle OpenMP threads would spin and take CPU time from other processes. torch reads this once, when imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        ask_for_huge_pages()
        from sca_transformers.load import load

        model, tokenizer = load(name, dtype, device, trust_remote_code=trust_remote_code.lower() == "true")
        from sca_transformers.engine import Engine

        window = model.config.get_text_config().max_position_embeddings
        self._max_context = min(int(max_context) or window, window)
        self.chat = ChatFormat(tokenizer, model.generation_config, name)
        """The model's chat format, which also lists the tokens that end a reply."""
        self._engine = Engine(
            model,
            self.chat,
            batch=int(batch),
            max_context=self._max_context,
            prefix_bytes=int(prefix_mb) * 2**20,
            threads=int(threads),
        )

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Reply to each conversation, see `Model.generate`.

        Raises:
            ModelError: the engine failed or was closed, or the chat template rejects a conversation.
        """
        prompts = [self.chat.encode(messages, tools) for messages in conversations]
        rows = [self._row(prompt, sampling, sampling.seed + index) for index, prompt in enumerate(prompts)]
        fitting = [row for row in rows if len(row.prompt) < self._max_context]
        self._engine.submit(fitting)
        try:
            await asyncio.gather(*(asyncio.wrap_future(row.future) for row in fitting))
        finally:
            for row in fitting:
                row.future.cancel()  # if one row failed or the caller was cancelled, stop the others
        return [self._completion(row, bool(tools)) for row in rows]

    async def update_weights(self, weights: "Iterable[tuple[str, torch.Tensor]]") -> None:
        """Replace weights in place, see `TrainableModel`.

        Raises:
            ModelError: the model is generating replies, or the engine is closed.
        """
        await asyncio.to_thread(self._engine.update, weights)

    async def close(self) -> None:
        """Stop the engine; unfinished replies fail."""
        await asyncio.to_thread(self._engine.close)

    def _row(self, prompt: list[int], sampling: Sampling, seed: int) -> "Row":
        import numpy as np

        from sca_transformers.engine import Row
        from sca_transformers.sampling import dice

        return Row(
            np.array(prompt, dtype=np.int64),
            dice(sampling.temperature, sampling.top_p, seed),
            sampling.max_tokens,
            sampling.stop,
        )

    def _completion(self, row: "Row", tools: bool) -> Completion:
        prompt_ids = row.prompt.tolist()
        if not row.finish:
            return Completion("", "context", len(prompt_ids), prompt_ids=prompt_ids)
        text = self.chat.opened_reasoning + self.chat.decode(row.tokens)
        if (end := find_stop(text, row.stop)) >= 0:
            text = text[:end]
        text, calls = parse_tool_calls(text) if tools and self.chat.has_tools else (text, [])
        return Completion(
            text,
            "tool_calls" if calls else row.finish,
            prompt_tokens=len(prompt_ids),
            completion_tokens=len(row.tokens),
            tool_calls=calls,
            prompt_ids=prompt_ids,
            token_ids=row.tokens,
            logprobs=row.logprobs,
        )
