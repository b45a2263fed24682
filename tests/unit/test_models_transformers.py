"""The transformers plugin on tiny random models: batching and prefix reuse change no token (float32)."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sca_transformers.model import TransformersModel
from tiny_model import save_model

from sca_cli import Completion, FunctionCall, Message, MissingError, ModelError, Sampling, Tool, ToolCall
from sca_cli.toolkit.chat_format import ChatFormat, parse_tool_calls

pytestmark = pytest.mark.torch

GREEDY = Sampling(temperature=0.0, max_tokens=24)
SHARED = "You are one of many agents who all read this long text first. " * 3


def talk(user: str, system: str = "Be brief.") -> list[Message]:
    """Return a conversation of two messages."""
    return [Message(role="system", content=system), Message(role="user", content=user)]


TALKS = [talk("a" * n + f" number {n}") for n in (3, 40, 1, 17, 90, 2, 33)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the directory of a tiny model by architecture."""
    pytest.importorskip("torch", reason="needs the transformers extra")
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_model(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


@pytest.fixture
def opened(directory: Callable[[str], Path]) -> Iterator[Callable[..., TransformersModel]]:
    """Return a function that opens a tiny model in float32 on the CPU; all are closed at the end."""
    models: list[TransformersModel] = []

    def get(kind: str = "qwen2", **options: str) -> TransformersModel:
        models.append(TransformersModel(str(directory(kind)), dtype="float32", device="cpu", **options))
        return models[-1]

    yield get
    for model in models:
        asyncio.run(model.close())


def replies(
    model: TransformersModel, talks: list[list[Message]], sampling: Sampling, **kwargs: Any
) -> list[Completion]:
    """Return the replies of one call."""
    return asyncio.run(model.generate(talks, sampling, **kwargs))


def reference(directory: Path, prompt_ids: list[int], new_tokens: int) -> list[int]:
    """Return what the library's own greedy `generate` makes of one prompt."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    ids = torch.tensor([prompt_ids])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new_tokens,
        do_sample=False,
        eos_token_id=[256, 258],
    )
    return out[0, len(prompt_ids) :].tolist()


def tokens_run(model: TransformersModel) -> list[int]:
    """Return a list that grows by the number of tokens (padding included) of each forward pass."""
    sizes: list[int] = []
    network = model._engine._model.base_model
    network.register_forward_pre_hook(lambda _, __, kwargs: sizes.append(kwargs["input_ids"].numel()), with_kwargs=True)
    return sizes


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "mistral"])
def test_batched_greedy_equals_the_library_one_by_one(opened, directory, kind):
    """Rows of different lengths that share a batch smaller than their number reply as each would alone."""
    for completion in replies(opened(kind, batch="3"), TALKS, GREEDY):
        assert completion.prompt_ids is not None
        assert completion.token_ids == reference(directory(kind), completion.prompt_ids, 24)


def test_linear_layers_are_laid_out_for_the_processor(opened, directory):
    """All of them, the tied head included, in float32 on the CPU; the weight can still be read, as it was."""
    import torch
    from sca_transformers.packed import PackedLinear, pack
    from transformers import AutoModelForCausalLM

    packed = dict(opened()._engine._model.named_modules())
    plain = AutoModelForCausalLM.from_pretrained(directory("qwen2"), dtype=torch.float32)
    layers = {name: layer for name, layer in plain.named_modules() if type(layer) is torch.nn.Linear}
    assert "lm_head" in layers
    for name, layer in layers.items():
        assert isinstance(packed[name], PackedLinear)
        assert torch.equal(packed[name].weight, layer.weight)
    narrow = AutoModelForCausalLM.from_pretrained(directory("qwen2"), dtype=torch.bfloat16)
    pack(narrow)
    assert not any(isinstance(layer, PackedLinear) for layer in narrow.modules())


@pytest.mark.parametrize("as_on_a_gpu", [False, True])
def test_staggered_arrival_changes_nothing(opened, as_on_a_gpu):
    """Requests that come while others are being decoded get the replies they get alone, also when made to wait."""
    alone = [replies(opened(prefix_mb="0"), [one], GREEDY)[0].token_ids for one in TALKS]
    model = opened(batch="4")
    if as_on_a_gpu:
        model._engine._patience, model._engine._step_of_width = 8, 8

    async def run() -> list[list[int] | None]:
        async def late(index: int) -> list[int] | None:
            await asyncio.sleep(0.01 * index)
            return (await model.generate([TALKS[index]], GREEDY))[0].token_ids

        return list(await asyncio.gather(*(late(index) for index in range(len(TALKS)))))

    assert asyncio.run(run()) == alone


def test_shared_prefix_is_computed_once(opened, directory):
    """Conversations with one system prompt compute it once, and reply as the library does without sharing."""
    model = opened(batch="8")
    sizes = tokens_run(model)
    completions = replies(
        model, [talk(f"question {n}", SHARED) for n in range(8)], Sampling(temperature=0.0, max_tokens=1)
    )
    prompt = completions[0].prompt_tokens
    assert sum(sizes) < prompt + 8 * 40 < 2 * prompt + 8 * 40 < 8 * prompt
    for completion in completions:
        assert completion.token_ids == reference(directory("qwen2"), completion.prompt_ids or [], 1)


def test_two_system_prompts_at_once_are_each_computed_once(opened):
    """Newcomers are split by what they share, not by who came first."""
    model = opened(batch="8")
    sizes = tokens_run(model)
    talks = [talk(f"question {n}", f"{n % 2} {SHARED}") for n in range(8)]
    completions = replies(model, talks, Sampling(temperature=0.0, max_tokens=1))
    assert sum(sizes) < 2 * completions[0].prompt_tokens + 8 * 40


def test_same_conversation_many_times_is_computed_once(opened):
    """Samples of one task differ by their seed only: their prompt runs once."""
    model = opened(batch="8")
    sizes = tokens_run(model)
    completions = replies(model, [talk("same", SHARED)] * 8, Sampling(max_tokens=1))
    assert sum(sizes) == completions[0].prompt_tokens + 7


def test_next_turn_reuses_the_last_one(opened, directory):
    """The next turn of a conversation computes only the new tokens, and its reply is the same as without the cache."""
    model = opened()
    first = replies(model, [talk("begin", SHARED)], GREEDY)[0]
    longer = [
        *talk("begin", SHARED),
        Message(role="assistant", content=first.text),
        Message(role="user", content="go on"),
    ]
    sizes = tokens_run(model)
    second = replies(model, [longer], GREEDY)[0]
    assert sizes[0] < second.prompt_tokens - first.prompt_tokens + 2
    assert second.token_ids == reference(directory("qwen2"), second.prompt_ids or [], 24)


def test_prefixes_held_once_change_nothing(opened):
    """Rows that share long beginnings, or none, in several turns, some of them cancelled: tokens and logprobs stay."""
    np = pytest.importorskip("numpy")
    noise = np.random.default_rng(0)
    ids = {name: noise.integers(0, 256, count).tolist() for name, count in [("a", 90), ("b", 120), ("other", 150)]}
    begun = [ids[name] + noise.integers(0, 256, n).tolist() for n in (1, 5, 30, 70) for name in ("a", "b")]
    begun += [ids["a"], begun[3], begun[3], ids["other"], [7]]

    def converse(sharing: bool) -> tuple[list[Any], set[int]]:
        model, lengths = opened(batch="6"), set()
        engine = model._engine
        share, engine._sharing = engine._share, sharing

        def spy(*args: Any) -> Any:
            prefix = share(*args)
            lengths.add(len(prefix.ids) if prefix else 0)
            return prefix

        engine._share = spy
        talks, replied = begun, []
        for _ in range(3):
            rows = [model._row(talk, GREEDY, 0) for talk in talks]
            doomed = [model._row(ids[name] + [n], Sampling(max_tokens=3000), 0) for n, name in enumerate("abab")]
            engine.submit([*doomed[:2], *rows[:5]])
            time.sleep(0.05)
            engine.submit([*doomed[2:], *rows[5:]])
            time.sleep(0.05)
            for row in doomed:
                row.future.cancel()
            replied += [row.future.result(timeout=60) for row in rows]
            talks = [[*talk, *row.tokens, 10, 11, 12] for talk, row in zip(talks, rows, strict=True)]
        return replied, lengths

    (apart, none), (shared, lengths) = converse(False), converse(True)
    assert (none, {90, 120} <= lengths) == (set(), True)
    for one, other in zip(apart, shared, strict=True):
        assert other.tokens == one.tokens
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-4)


def test_prefix_store_keeps_to_its_size():
    """The least recently used prefix is evicted first; a prefix of another stored one is not stored separately."""
    np, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    from sca_transformers.cache import Held, PrefixStore

    store = PrefixStore(capacity=3 * 400)
    entry = {key: (np.array([key] * 3 + [9]), [torch.full((100,), float(key))]) for key in (1, 2, 3, 4)}
    for key in (1, 2, 3):
        store.add(Held(*entry[key]))
    assert store.find(np.array([1, 1, 1, 5]))[0] == 3
    store.add(Held(*entry[4]))
    assert [store.find(entry[key][0])[0] for key in (1, 2, 3, 4)] == [4, 0, 4, 4]
    store.add(Held(np.array([1, 1, 1, 9, 9]), [torch.zeros(100)]))
    assert [store.find(entry[key][0])[0] for key in (1, 3, 4)] == [4, 4, 4]
    store.add(Held(np.array([7]), [torch.zeros(301)]))
    assert store.find(np.array([7]))[0] == 0


def test_prompts_longer_than_a_forward_pass_run_in_pieces(opened, directory):
    """A prompt above the prefill budget gives the same reply."""
    model = opened()
    model._engine._prefill_tokens = 50
    completions = replies(model, TALKS, GREEDY)
    for completion in completions:
        assert completion.token_ids == reference(directory("qwen2"), completion.prompt_ids or [], 24)


def test_logprobs_are_those_of_the_model_at_temperature_one(opened, directory):
    """A teacher-forced pass gives the same log-probabilities, whatever was sampled from."""
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(directory("qwen2"), dtype=torch.float32)
    for completion in replies(opened(), TALKS, Sampling(temperature=0.4, top_p=0.8, max_tokens=12)):
        prompt, reply = completion.prompt_ids or [], completion.token_ids or []
        with torch.no_grad():
            logits = network(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(reply)[:, None])[:, 0].tolist()
        assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def test_a_seed_gives_one_reply_whoever_is_beside_it(opened):
    """A row's random numbers are its own: alone and in a batch it samples the same."""
    sampling = Sampling(temperature=1.0, max_tokens=16, seed=100)
    together = replies(opened(), [TALKS[0]] * 6, sampling)
    alone = replies(opened(), [TALKS[0]], Sampling(temperature=1.0, max_tokens=16, seed=103))
    assert together[3].token_ids == alone[0].token_ids
    assert len({tuple(completion.token_ids or []) for completion in together}) == 6


@pytest.mark.parametrize("top_p", [1.0, 0.75, 1e-9])
def test_sampling_follows_the_distribution(top_p):
    """Frequencies are the softmax at the temperature, cut to the nucleus, within six standard errors."""
    torch = pytest.importorskip("torch")
    from sca_transformers.sampling import choose, dice

    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -8.0])
    expected = (logits / 0.8).softmax(-1)
    kept = (expected.cumsum(-1) - expected < top_p) | (torch.arange(5) == 0)
    expected = torch.where(kept, expected, 0.0) / expected[kept].sum()
    count = 12_000
    tokens, logprobs = choose(logits.expand(count, 5), [dice(0.8, top_p, seed) for seed in range(count)])
    frequencies = torch.bincount(torch.tensor(tokens), minlength=5) / count
    error = (expected * (1 - expected) / count).sqrt()
    assert bool(((frequencies - expected).abs() <= 6 * error + 1e-9).all())
    assert logprobs == pytest.approx(logits.log_softmax(-1)[tokens].tolist(), abs=1e-5)


def test_nucleus_beyond_the_first_guess_is_sorted_whole():
    """A flat distribution whose nucleus is wider than the tokens first looked at is still cut right."""
    torch = pytest.importorskip("torch")
    from sca_transformers.sampling import choose, dice

    logits = torch.zeros(4000, 2000) - torch.arange(2000) * 1e-4
    tokens, _ = choose(logits, [dice(1.0, 0.5, seed) for seed in range(4000)])
    edge = int((logits[0].softmax(-1).cumsum(-1) < 0.5).sum())
    assert 900 < edge < 1000
    assert edge - 5 < max(tokens) <= edge


def test_stop_text_ends_the_reply_and_is_kept(opened):
    """The text is cut behind the stop text; the token ids are all that was sampled."""
    model = opened()
    free = replies(model, [TALKS[1]], GREEDY)[0]
    stop = free.text[5:8]
    cut = replies(model, [TALKS[1]], Sampling(temperature=0.0, max_tokens=24, stop=("never this", stop)))[0]
    assert cut.finish_reason == "stop"
    assert cut.text == free.text[: free.text.index(stop) + len(stop)]
    assert cut.token_ids == (free.token_ids or [])[: len(cut.token_ids or [])]
    assert model.chat.decode(cut.token_ids or []).startswith(cut.text)


def test_end_of_turn_token_stops_and_stays_in_the_ids(opened):
    """A sampled `<|im_end|>` ends the reply though only `<|endoftext|>` is configured; it is no text."""
    model = opened()
    assert model.chat.end_ids == {256, 258}
    talks = [talk(f"hello {n}") for n in range(60)]
    stopped = [c for c in replies(model, talks, Sampling(temperature=1.5, max_tokens=200)) if c.finish_reason == "stop"]
    assert stopped
    for completion in stopped:
        ids = completion.token_ids or []
        assert ids[-1] in model.chat.end_ids
        assert not set(ids[:-1]) & model.chat.end_ids
        assert "<|im_end|>" not in completion.text
        assert len(completion.logprobs or []) == len(ids) == completion.completion_tokens


def test_a_turn_ends_at_a_control_token_without_a_role(directory, tmp_path):
    """A tokenizer saved without the list of its special tokens still marks them in its vocabulary: they end a reply."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory("qwen2"))
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({name: value for name, value in settings.items() if "special_tokens" not in name})
    )
    bare = AutoTokenizer.from_pretrained(tmp_path)
    assert 258 not in bare.all_special_ids
    assert ChatFormat(bare, None, "bare").end_ids == {256, 258}


def test_a_conversation_that_does_not_fit_is_told(opened):
    """A prompt that fills the window gives `context`; one that nearly does stops at the window."""
    model = opened(max_context="64")
    long, short = replies(model, [talk("x" * 200), talk("")], Sampling(temperature=0.0, max_tokens=1000))
    assert (long.finish_reason, long.text, long.token_ids) == ("context", "", None)
    assert short.finish_reason == "length"
    assert short.prompt_tokens + short.completion_tokens == 64


def test_cancelled_calls_free_their_rows(tmp_path):
    """A call that is cancelled stops being decoded: a batch of one row serves the next call at once."""
    model = TransformersModel(str(save_model(tmp_path, window=50_000)), dtype="float32", batch="1")
    endless = Sampling(temperature=0.0, max_tokens=49_000)

    async def run() -> tuple[str, float]:
        never = asyncio.ensure_future(model.generate([talk("first"), talk("second")], endless))
        await asyncio.sleep(0.3)
        never.cancel()
        with pytest.raises(asyncio.CancelledError):
            await never
        start = time.perf_counter()
        completion = (await model.generate([talk("third")], GREEDY))[0]
        await model.close()
        return completion.finish_reason, time.perf_counter() - start

    reason, seconds = asyncio.run(run())
    assert reason == "length"
    assert seconds < 20


def test_a_failing_engine_fails_its_calls_and_goes_on(opened):
    """What the engine dies of reaches the caller as a ModelError; the next call is served."""
    model = opened()
    handle = model._engine._model.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(MemoryError("no more")))
    with pytest.raises(ModelError, match="MemoryError: no more"):
        replies(model, TALKS, GREEDY)
    handle.remove()
    assert replies(model, TALKS[:1], GREEDY)[0].completion_tokens > 0


def test_close_ends_what_runs_and_may_be_repeated(opened):
    """Closing fails the replies not yet whole; a closed model refuses calls."""
    model = opened()

    async def run() -> None:
        call = asyncio.ensure_future(model.generate([talk("x")], Sampling(temperature=0.0, max_tokens=3000)))
        await asyncio.sleep(0.05)
        await model.close()
        await model.close()
        with pytest.raises(ModelError, match="closed before"):
            await call
        with pytest.raises(ModelError, match="is closed"):
            await model.generate([talk("x")], GREEDY)

    asyncio.run(run())


def test_tools_reach_the_template_and_calls_come_back(opened):
    """Schemas are rendered in OpenAI form; `<tool_call>` blocks become tool calls, broken ones stay text."""
    tool = Tool("add", "Add.", {"type": "object", "properties": {}}, "add(a: int)", "int")
    model = opened()
    call = ToolCall(id="1", function=FunctionCall(name="add", arguments='{"a": 1}'))
    prompt = model.chat.encode([*talk("q"), Message(role="assistant", tool_calls=[call])], [tool])
    text = model.chat.decode(prompt)
    assert '{"type": "function", "function": {"name": "add", "description": "Add.", "parameters"' in text
    assert '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>' in text
    broken = '<tool_call>{"a": 1</tool_call>'
    reply = f'Let me.\n<tool_call>\n{{"name": "add", "arguments": {{"a": "é"}}}}\n</tool_call>{broken}'
    rest, calls = parse_tool_calls(reply)
    assert rest == f"Let me.\n{broken}"
    assert [(c.id, c.function.name, c.function.arguments) for c in calls] == [("call_0", "add", '{"a": "é"}')]
    assert parse_tool_calls(" plain ") == (" plain ", [])


def test_missing_models_are_told_within_seconds(monkeypatch, tmp_path):
    """No directory, no hub and an empty directory each end in a MissingError that says which."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    start = time.perf_counter()
    for name, said in [
        ("/nowhere/at/all", "no such model directory"),
        ("nobody", "no such model directory"),
        ("", "no such model directory"),
        ("nobody/no-such-model", "neither a directory nor in the local cache"),
        (str(tmp_path), "cannot load the model"),
    ]:
        with pytest.raises(MissingError, match=said):
            TransformersModel(name)
    assert time.perf_counter() - start < 30


def test_bad_options_are_refused(directory):
    """A type or device that torch does not know is named."""
    with pytest.raises(ValueError, match="dtype=float1"):
        TransformersModel(str(directory("qwen2")), dtype="float1")
    with pytest.raises(ValueError, match="device=abacus"):
        TransformersModel(str(directory("qwen2")), device="abacus")


def test_a_model_without_chat_template_is_refused(directory, tmp_path):
    """A base model cannot be talked to."""
    import shutil

    shutil.copytree(directory("qwen2"), tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(MissingError, match="no chat template"):
        TransformersModel(str(tmp_path / "base"))


def test_template_refusal_is_a_model_error(directory):
    """A conversation that the template refuses is an error of the model, with the template's words."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory("qwen2"))
    chat = ChatFormat(tokenizer, None, "tiny")
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ModelError, match="roles must alternate"):
        chat.encode(talk("x"), [])
