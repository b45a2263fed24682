"""Continuous batching: one worker thread decodes all running replies together, one token per step.

A step removes cancelled rows, admits waiting rows into free slots, and runs the model once over all rows. Of a new
row's prompt, only the part after the longest prefix that a running or finished row holds is computed. If several new
rows share a prefix that no row holds yet, one is admitted first and the others copy the prefix from it. The last token
of a prompt runs together with the next tokens of the running rows: the multiplication with the vocabulary's matrix
costs the same for one row as for eight, so it is done once a step.

The same rows in the same order give the same tokens. Which rows run in one batch depends on the arrival times of the
requests. Matrix products with another batch size round differently, so in bfloat16 a near tie may be decided
differently.
"""

import queue
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch  # noqa: TID253  this module is imported inside the model's constructor

from sca_cli import ModelError
from sca_transformers.attention import causal_mask
from sca_transformers.cache import Ids, PrefixStore, SlotCache, common_prefix
from sca_transformers.chat import ChatFormat
from sca_transformers.sampling import Dice, choose

_WORTH_WAITING = 32
"""A new row waits if another new row shares at least this many more tokens than the cache holds. Chosen by hand."""

_PATIENCE = 8
"""On a GPU, new rows wait at most this many steps until an eighth of the number of running rows can be admitted
together, because a pass takes as long for one row as for many. Chosen by hand."""


@dataclass(slots=True, eq=False)
class Row:
    """One reply that is being generated. While it runs, its slot is its index in the batch."""

    prompt: Ids
    dice: Dice
    max_tokens: int
    stop: tuple[str, ...]
    future: "Future[Row]" = field(default_factory=Future)
    """Resolves to the row itself when the reply is complete."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Literal["", "stop", "length"] = ""
    length: int = 0
    """Number of filled columns of its slot."""


class Engine:
    """Run a model for rows that arrive at any time.

    Args:
        model: a transformers causal language model with the attention `attention.NAME`.
        chat: decodes for stop texts and names the end tokens.
        batch: largest number of rows that run at once.
        max_context: largest number of tokens of prompt and reply together.
        prefix_bytes: memory for keys and values of finished conversations.
        threads: torch threads of the worker, or 0 for torch's own choice.
    """

    def __init__(
        self, model: Any, chat: ChatFormat, *, batch: int, max_context: int, prefix_bytes: int, threads: int
    ) -> None:
        self._model = model
        self._chat = chat
        self._batch = batch
        self._max_context = max_context
        self._threads = threads
        on_cpu = model.device.type == "cpu"
        self._prefill_tokens = 2048 if on_cpu else 8192
        self._step_of_width = 1 if on_cpu else 8  # the GPU's kernels copy masks that are not aligned to 8
        self._patience = 0 if on_cpu else _PATIENCE
        self._steps_waited = 0
        self._cache = SlotCache()
        self._prefixes = PrefixStore(prefix_bytes)
        self._prefix_bytes = prefix_bytes
        self._inbox: queue.SimpleQueue[list[Row] | None] = queue.SimpleQueue()
        self._waiting: deque[Row] = deque()
        self._running: list[Row] = []
        self._closed = False
        self._submit_lock = threading.Lock()  # no rows may be queued after the None that stops the worker
        # With a strided input, the head's weight would be copied once per row, which takes gigabytes.
        model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
        self._thread = threading.Thread(target=self._work, name="sca-transformers", daemon=True)
        self._thread.start()

    def submit(self, rows: list[Row]) -> None:
        """Queue rows; may be called from any thread.

        Raises:
            ModelError: the engine is closed.
        """
        with self._submit_lock:
            if self._closed:
                raise ModelError("the model is closed")
            self._inbox.put(rows)

    def close(self) -> None:
        """Stop the worker and wait for it; incomplete replies fail."""
        with self._submit_lock:
            self._closed = True
            self._inbox.put(None)
        self._thread.join()

    # ------------------------------------------------------------ the worker

    def _work(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)  # the setting is per thread, so it is made here
        with torch.inference_mode():
            while self._receive():
                try:
                    self._step()
                except Exception as error:  # noqa: BLE001  every error of the engine is passed to the callers
                    self._fail(error)
        self._waiting.extend(self._running)
        for row in self._waiting:
            _reject(row, ModelError("the model was closed before the reply was complete"))

    def _receive(self) -> bool:
        """Move queued rows to the waiting rows; block only if no row runs or waits. Return False to stop."""
        while True:
            try:
                rows = self._inbox.get(block=not (self._running or self._waiting))
            except queue.Empty:
                return True
            if rows is None:
                return False
            self._waiting.extend(rows)

    def _step(self) -> None:
        for slot in reversed(range(len(self._running))):
            if self._running[slot].future.cancelled():
                self._remove(slot)
        self._steps_waited += 1
        if 8 * len(self._waiting) >= len(self._running) or self._steps_waited > self._patience:
            self._steps_waited = 0
            self._admit()
        if self._running:
            self._decode()

    def _fail(self, error: Exception) -> None:
        for row in self._running:
            _reject(row, ModelError(f"the engine failed: {type(error).__name__}: {str(error).strip()[:300]}"))
        self._running.clear()
        self._cache = SlotCache()
        self._prefixes = PrefixStore(self._prefix_bytes)

    # ------------------------------------------------------------ admission

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._batch:
            wave = self._next_wave()
            if not wave:
                return
            first = len(self._running)
            self._running.extend(wave)
            known = [*wave, *self._waiting]
            self._cache.reserve(
                min(self._batch, first + len(known)),
                max(min(len(row.prompt) + row.max_tokens, self._max_context) for row in known),
            )
            for slot, row in enumerate(wave, first):
                self._reuse(slot, row)
            for start, end in self._groups(first):
                self._prefill(start, end)

    def _next_wave(self) -> list[Row]:
        """Return waiting rows to compute together. Rows that could copy a prefix from one of them stay waiting."""
        wave: list[Row] = []
        deferred: list[Row] = []
        new: dict[int, int] = {}  # id of the row → tokens that must be computed
        room = self._batch - len(self._running)
        while self._waiting and len(wave) < room:
            row = self._waiting.popleft()
            if row.future.cancelled():
                continue
            held = max(
                self._prefixes.find(row.prompt)[0],
                max((common_prefix(row.prompt, other.prompt) for other in self._running), default=0),
            )
            later = any(common_prefix(row.prompt, other.prompt) >= held + _WORTH_WAITING for other in wave)
            (deferred if later else wave).append(row)
            new[id(row)] = len(row.prompt) - held
        self._waiting.extendleft(reversed(deferred))
        return sorted(wave, key=lambda row: new[id(row)])

    def _reuse(self, slot: int, row: Row) -> None:
        """Copy the longest prefix that the store or a running row holds into the row's slot."""
        stored, tensors = self._prefixes.find(row.prompt)
        shared, source = max(
            ((common_prefix(row.prompt, other.prompt[: other.length]), n) for n, other in enumerate(self._running)),
            default=(0, 0),
        )
        row.length = min(max(stored, shared), len(row.prompt) - 1)  # the last token runs in the next step
        if stored > shared:
            self._cache.put(slot, tensors, row.length)
        elif row.length:
            self._cache.copy(source, slot, row.length)

    def _groups(self, first: int) -> list[tuple[int, int]]:
        """Return ranges of new slots; each fits in one forward pass, padded, and at most half of it is padding."""
        groups: list[tuple[int, int]] = []
        start = first
        while start < len(self._running):
            end, longest, filled = start, 0, 0
            while end < len(self._running):
                row = self._running[end]
                longest = max(longest, len(row.prompt) - 1 - row.length)
                filled += len(row.prompt) - 1 - row.length
                if end > start and longest * (end + 1 - start) > min(self._prefill_tokens, 2 * filled):
                    break
                end += 1
            groups.append((start, end))
            start = end
        return groups

    def _prefill(self, start: int, end: int) -> None:
        """Compute the prompts of consecutive slots up to their last tokens.

        Rows are aligned at their ends: padding is on the left and is written to the scratch column.
        """
        rows = self._running[start:end]
        longest = max(len(row.prompt) - 1 - row.length for row in rows)
        tokens = np.zeros((len(rows), longest), dtype=np.int64)
        positions = np.full((len(rows), longest), -1, dtype=np.int64)
        for index, row in enumerate(rows):
            new = len(row.prompt) - 1 - row.length
            tokens[index, longest - new :] = row.prompt[row.length : -1]
            positions[index, longest - new :] = np.arange(row.length, len(row.prompt) - 1)
        piece = max(1, self._prefill_tokens // len(rows))
        for at in range(0, longest, piece):
            self._forward(self._model.base_model, start, tokens[:, at : at + piece], positions[:, at : at + piece])
        for row in rows:
            row.length = len(row.prompt) - 1

    # ------------------------------------------------------------ decoding

    def _decode(self) -> None:
        rows = self._running
        self._cache.reserve(len(rows), max(row.length for row in rows) + 1)
        tokens = np.array([[(row.tokens or row.prompt)[-1]] for row in rows])
        positions = np.array([[row.length] for row in rows])
        output = self._forward(self._model, 0, tokens, positions, logits_to_keep=1)
        for row in rows:
            row.length += 1
        self._extend(rows, output.logits[:, -1])
        for slot in reversed(range(len(rows))):
            self._settle(slot)

    def _forward(self, model: Any, first: int, tokens: Any, positions: Any, **arguments: int) -> Any:
        """Run the model, or its body without the vocabulary's matrix, over rows in consecutive slots.

        Args:
            model: the model or its body.
            first: slot of the first row.
            tokens: (rows, n) token ids.
            positions: (rows, n); -1 is padding.
            arguments: further arguments of the model.

        Returns:
            The model's output.
        """
        device = self._model.device
        width = -(-(int(positions.max()) + 1) // self._step_of_width) * self._step_of_width
        columns = np.where(positions < 0, self._cache.scratch, positions)
        # one copy for all three, because each copy makes the GPU wait
        ids, columns, at = torch.from_numpy(np.stack([tokens, columns, np.maximum(positions, 0)])).to(device)
        self._cache.aim(first, columns, width)
        return model(
            input_ids=ids,
            attention_mask=causal_mask(at, width),
            position_ids=at,
            past_key_values=self._cache,
            use_cache=True,
            **arguments,
        )

    def _extend(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        tokens, logprobs = choose(logits, [row.dice for row in rows])
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)
            if token in self._chat.end_ids or self._stops(row):
                row.finish = "stop"
            elif len(row.tokens) >= row.max_tokens or len(row.prompt) + len(row.tokens) >= self._max_context:
                row.finish = "length"

    def _stops(self, row: Row) -> bool:
        if not row.stop:
            return False
        # A token has at least one byte, so this tail contains any stop text that the newest token completes.
        tail = self._chat.decode(row.tokens[-max(len(stop.encode()) for stop in row.stop) - 4 :])
        return any(stop in tail for stop in row.stop) and find_stop(self._chat.decode(row.tokens), row.stop) >= 0

    def _settle(self, slot: int) -> None:
        row = self._running[slot]
        if not row.finish:
            return
        ids = np.concatenate([row.prompt, np.array(row.tokens, dtype=np.int64)])[: row.length]
        if self._prefix_bytes:
            self._prefixes.add(ids, self._cache.take(slot, row.length))
        if row.future.set_running_or_notify_cancel():
            row.future.set_result(row)
        self._remove(slot)

    def _remove(self, slot: int) -> None:
        """Free a slot by moving the last row into it."""
        last = self._running.pop()
        if slot < len(self._running):
            self._running[slot] = last
            self._cache.copy(len(self._running), slot, last.length)


def find_stop(text: str, stops: Sequence[str]) -> int:
    """Return the index after the earliest stop text, or -1 if there is none."""
    return min((text.find(stop) + len(stop) for stop in stops if stop in text), default=-1)


def _reject(row: Row, error: ModelError) -> None:
    if not row.future.done() and row.future.set_running_or_notify_cancel():
        row.future.set_exception(error)
