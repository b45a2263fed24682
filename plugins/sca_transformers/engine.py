"""Continuous batching: one worker thread decodes all running replies together, one token each per step.

A step removes cancelled rows, puts waiting rows into free slots, and runs the model once over all rows. If a running or
finished row has the keys and values of a prefix of a new row's prompt, the longest such prefix is reused, and only the
rest of the prompt is computed. If several new rows share a prefix that no other row has, one of them is computed first
and the others copy from it. The last token of a prompt runs together with the next tokens of the running rows. So the
output head, which costs the same for one row and for eight, is multiplied once per step.

On a CPU, a prefix of several rows is stored once, outside the slots, because reading a copy of it for every row would
take most of a step. A row gets its shared prefix when it is admitted; running rows can then get a longer one. A prefix
is stored as long as a row or a stored conversation uses it.

The same rows in the same order give the same tokens. The rows that run together depend on the times of the requests,
and matrix products of another batch size round differently. In bfloat16, this can change the choice between two almost
equally likely tokens.
"""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch  # noqa: TID253  this module is imported inside the model's constructor

from sca_cli import ModelError
from sca_cli.toolkit.chat_format import ChatFormat
from sca_cli.toolkit.replies import find_stop
from sca_transformers.attention import SHARED, SharedPrefixes, causal_mask
from sca_transformers.cache import Held, Ids, PrefixStore, SlotCache, common_prefix
from sca_transformers.packed import replace_weights
from sca_transformers.sampling import Dice, choose

_WORTH_WAITING = 32
"""A new row waits for another new row if it can copy at least this number of tokens from it."""

_WORTH_SHARING = 64
"""Minimum length of a prefix that is stored outside the slots, in tokens. Measured with a model of 135M parameters:
four prefixes of 64 tokens for eight rows each take about the same time as in the slots (0.15 ms per layer); longer ones
take less.
"""

_PATIENCE = 8
"""On a GPU, number of steps that new rows wait until they are at least an eighth of the running rows. A forward pass on
a GPU takes the same time for one row as for many, so it is better to admit several at once.
"""


@dataclass(slots=True, eq=False)
class Row:
    """One reply that is being sampled. While it runs, its slot is its index in the batch."""

    prompt: Ids
    dice: Dice
    max_tokens: int
    stop: tuple[str, ...]
    future: "Future[Row]" = field(default_factory=Future)
    """Returns the row itself when the reply is complete."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Literal["", "stop", "length"] = ""
    length: int = 0
    """Number of tokens whose keys and values are stored: those of the prefix and those in the slot."""
    prefix: Held | None = None
    """The prefix of the prompt that is stored outside the slot, because other rows have it too."""

    @property
    def base(self) -> int:
        """Position in the sequence of the first token of the slot: the length of the shared prefix."""
        return len(self.prefix.ids) if self.prefix else 0


@dataclass(slots=True, eq=False)
class Update:
    """New weights, by their names in the model's state."""

    weights: Iterable[tuple[str, torch.Tensor]]
    future: "Future[None]" = field(default_factory=Future)
    """Resolves when the model has them."""


class Engine:
    """Run a model for rows that arrive at any time.

    Args:
        model: a transformers causal language model that uses the attention `attention.NAME`.
        chat: decodes tokens to search for stop texts, and lists the end tokens.
        batch: maximum number of rows that run at once.
        max_context: maximum number of tokens of prompt and reply together.
        prefix_bytes: memory for keys and values of finished conversations, in bytes.
        threads: number of torch threads of the worker; 0: torch's default.
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
        self._step_of_width = 1 if on_cpu else 8  # the GPU's kernels want masks aligned so, or copy them
        self._patience = 0 if on_cpu else _PATIENCE
        self._waited = 0
        # The GPU's kernels that tell the sum of exponentials take no mask.
        self._sharing = (
            on_cpu
            and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
            and getattr(model.config.get_text_config(), "sliding_window", None) is None
        )
        self._cache = SlotCache()
        self._prefixes = PrefixStore(prefix_bytes)
        self._prefix_bytes = prefix_bytes
        self._inbox: queue.SimpleQueue[list[Row] | Update | None] = queue.SimpleQueue()
        self._waiting: deque[Row] = deque()
        self._running: list[Row] = []
        self._closed = False
        self._door = threading.Lock()  # nothing may be queued behind the None that stops the worker
        # For a strided input the head's weight would be copied once per row: gigabytes of vocabulary.
        model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
        self._thread = threading.Thread(target=self._work, name="sca-transformers", daemon=True)
        self._thread.start()

    def submit(self, rows: list[Row]) -> None:
        """Queue rows. Thread-safe.

        Raises:
            ModelError: the engine is closed.
        """
        with self._door:
            if self._closed:
                raise ModelError("the model is closed")
            self._inbox.put(rows)

    def update(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Replace weights, and forget all stored keys and values. Thread-safe; no reply may be generated meanwhile.

        Args:
            weights: (name in the model's state, value of the same shape).

        Raises:
            ModelError: the engine is generating replies, or is closed.
        """
        update = Update(weights)
        with self._door:
            if self._closed:
                raise ModelError("the model is closed")
            self._inbox.put(update)
        update.future.result()

    def close(self) -> None:
        """Stop the worker and wait until it has ended; unfinished replies fail."""
        with self._door:
            self._closed = True
            self._inbox.put(None)
        self._thread.join()

    # ------------------------------------------------------------ the worker

    def _work(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)  # per thread: it must be said here
        with torch.inference_mode():
            while self._receive():
                try:
                    self._step()
                except Exception as error:  # noqa: BLE001  whatever the engine dies of is the callers' to know
                    self._fail(error)
        self._waiting.extend(self._running)
        for row in self._waiting:
            _reject(row, ModelError("the model was closed before the reply was whole"))

    def _receive(self) -> bool:
        """Receive new rows; wait only if there is no work. Return False if the worker must stop."""
        while True:
            try:
                rows = self._inbox.get(block=not (self._running or self._waiting))
            except queue.Empty:
                return True
            if rows is None:
                return False
            if isinstance(rows, Update):
                self._replace_weights(rows)
            else:
                self._waiting.extend(rows)

    def _replace_weights(self, update: Update) -> None:
        try:
            if self._running or self._waiting:
                raise ModelError("weights cannot change while replies are generated")
            replace_weights(self._model, update.weights)
        except Exception as error:  # noqa: BLE001  raised again in the caller's thread
            update.future.set_exception(error)
        else:
            self._forget()
            update.future.set_result(None)

    def _forget(self) -> None:
        self._cache = SlotCache()
        self._prefixes = PrefixStore(self._prefix_bytes)

    def _step(self) -> None:
        for slot in reversed(range(len(self._running))):
            if self._running[slot].future.cancelled():
                self._remove(slot)
        self._waited += 1
        if 8 * len(self._waiting) >= len(self._running) or self._waited > self._patience:
            self._waited = 0
            self._admit()
        if self._running:
            self._decode()

    def _fail(self, error: Exception) -> None:
        for row in self._running:
            _reject(row, ModelError(f"the engine failed: {type(error).__name__}: {str(error).strip()[:300]}"))
        self._running.clear()
        self._forget()

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
        """Remove from the queue the rows to compute together: none of them could copy a prefix from another one."""
        wave: list[Row] = []
        deferred: list[Row] = []
        new: dict[int, int] = {}  # row → tokens that no row holds
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
        """Reuse the row's longest prefix that a running or finished row has: share it where possible, else copy."""
        length, source = self._prefixes.find(row.prompt)
        beside, nearest = max(
            (common_prefix(row.prompt, other.prompt[: other.length]), n) for n, other in enumerate(self._running)
        )
        if beside >= length:
            length, source = beside, self._look(nearest)
        length = min(length, len(row.prompt) - 1)  # the last token runs in the next step
        if not length or not source:
            return
        if self._sharing:
            row.prefix = self._share(row, source, length)
        self._cache.put(slot, source.columns(row.base, length))
        row.length = length

    def _share(self, row: Row, source: Held, length: int) -> Held | None:
        """Return the best prefix for a row to share with other rows; a new one is copied from `source`.

        If k other rows begin with the same n tokens, sharing saves n * k / (k + 1) columns per step for this row.

        Args:
            row: the new row; its slot is still empty.
            source: stored keys and values; its first `length` tokens are those of the row.
            length: number of tokens that can be copied.
        """
        others = [*self._running, *itertools.islice(self._waiting, self._batch)]
        shared = [min(common_prefix(row.prompt, other.prompt), len(row.prompt) - 1) for other in others if other != row]

        def worth(tokens: int) -> float:
            fellows = sum(each >= tokens for each in shared)
            return tokens * fellows / (fellows + 1)

        known = {*self._prefixes.prefixes(), *(other.prefix for other in self._running if other.prefix)}
        fitting = [held for held in known if common_prefix(row.prompt[:length], held.ids) == len(held.ids)]
        best = max(fitting, key=lambda held: (worth(len(held.ids)), len(held.ids)), default=None)
        tokens = max(shared, key=worth, default=0)
        # A prefix that is hardly better is not worth copying; one that no row holds yet is made when a row does.
        if not _WORTH_SHARING <= tokens <= length or worth(tokens) < 1.25 * (worth(len(best.ids)) if best else 0):
            return best
        new = Held(row.prompt[:tokens], [part.clone() for part in source.columns(0, tokens)])
        for slot, other in enumerate(self._running):
            if other.base < tokens <= other.length and common_prefix(other.prompt, new.ids) == tokens:
                rest = self._look(slot).columns(tokens, other.length)
                self._cache.put(slot, [part.clone() for part in rest])
                other.prefix = new
        return new

    def _look(self, slot: int) -> Held:
        """Return the keys and values of a row, as views of its slot."""
        row = self._running[slot]
        ids = np.concatenate([row.prompt, np.array(row.tokens, dtype=np.int64)])[: row.length]
        return Held(ids, self._cache.look(slot, row.length - row.base), row.prefix)

    def _groups(self, first: int) -> list[tuple[int, int]]:
        """Return ranges of new slots. Each fits in one forward pass when padded, and at most half of it is padding."""
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
        """Compute the prompts of consecutive slots, except for their last tokens.

        Padding is on the left and is written to the scratch column.
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
        self._cache.reserve(len(rows), max(row.length - row.base for row in rows) + 1)
        tokens = np.array([[(row.tokens or row.prompt)[-1]] for row in rows])
        positions = np.array([[row.length] for row in rows])
        output = self._forward(self._model, 0, tokens, positions, logits_to_keep=1)
        for row in rows:
            row.length += 1
        self._extend(rows, output.logits[:, -1])
        for slot in reversed(range(len(rows))):
            self._settle(slot)

    def _forward(self, model: Any, first: int, tokens: Any, positions: Any, **options: int) -> Any:
        """Run the model, with or without its output head, over rows in consecutive slots.

        Args:
            model: the model, or its `base_model` without the output head.
            first: slot of the first row.
            tokens: (rows, n) token ids.
            positions: (rows, n); -1 is padding.
            options: further arguments of the model.

        Returns:
            The output of the model.
        """
        device = self._model.device
        rows = self._running[first : first + len(tokens)]
        columns = positions - np.array([[row.base] for row in rows])
        width = -(-(int(columns.max()) + 1) // self._step_of_width) * self._step_of_width
        columns = np.where(positions < 0, self._cache.scratch, columns)
        # one copy for all three: each stops the queue of a GPU
        ids, columns, at = torch.from_numpy(np.stack([tokens, columns, np.maximum(positions, 0)])).to(device)
        self._cache.aim(first, columns, width)
        SHARED.set(_shared(rows))
        return model(
            input_ids=ids,
            attention_mask=causal_mask(columns, width),
            position_ids=at,
            past_key_values=self._cache,
            use_cache=True,
            **options,
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
        # A token is at least a byte, so this tail holds any stop text that the newest token completes.
        tail = self._chat.decode(row.tokens[-max(len(stop.encode()) for stop in row.stop) - 4 :])
        if not any(stop in tail for stop in row.stop):
            return False
        return find_stop(self._chat.opened_reasoning + self._chat.decode(row.tokens), row.stop) >= 0

    def _settle(self, slot: int) -> None:
        row = self._running[slot]
        if not row.finish:
            return
        if self._prefix_bytes:
            held = self._look(slot)
            self._prefixes.add(Held(held.ids, [part.clone() for part in held.own], held.prefix))
        if row.future.set_running_or_notify_cancel():
            row.future.set_result(row)
        self._remove(slot)

    def _remove(self, slot: int) -> None:
        """Free a slot by moving the last row into it."""
        last = self._running.pop()
        if slot < len(self._running):
            self._running[slot] = last
            self._cache.copy(len(self._running), slot, last.length - last.base)


def _shared(rows: Sequence[Row]) -> SharedPrefixes | None:
    """Return the shared prefixes of rows, or None if no row has one."""
    groups: dict[Held | None, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.prefix, []).append(index)
    if not any(groups):
        return None
    order = torch.tensor([index for group in groups.values() for index in group])
    parts = [(len(group), held.own if held else []) for held, group in groups.items()]
    return SharedPrefixes(order, order.argsort(), parts)


def _reject(row: Row, error: ModelError) -> None:
    if not row.future.done() and row.future.set_running_or_notify_cancel():
        row.future.set_exception(error)
