"""The openai plugin against a small HTTP server: its requests, and the errors that it reports."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sca_openai.client import OpenAIModel

from sca_cli import Completion, FunctionCall, Message, MissingError, ModelError, Sampling, Tool, ToolCall

pytest.importorskip("openai", reason="needs the openai extra")
pytest.importorskip("aiohttp", reason="needs the openai extra")

TALK = [Message(role="system", content="Be brief."), Message(role="user", content="hi")]
TOOL = Tool("add", "Add.", {"type": "object", "properties": {}}, "add()", "int")


def answer(**choice: Any) -> dict[str, Any]:
    """Return a chat completion with one choice."""
    message = {"role": "assistant", "content": "hello"} | choice.pop("message", {})
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    }


class Server:
    """A server whose reply to each request is made by `respond(request) -> (status, body)`."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.respond: Callable[[dict[str, Any]], tuple[int, Any]] = lambda _: (200, answer())
        self.most = 0
        outer, lock, under_way = self, threading.Lock(), [0]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    outer.requests.append(request | {"_auth": self.headers["authorization"], "_path": self.path})
                    under_way[0] += 1
                    outer.most = max(outer.most, under_way[0])
                status, body = outer.respond(request)
                with lock:
                    under_way[0] -= 1
                if not status:  # hang up
                    self.close_connection = True
                    return
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                kind = "text/html" if isinstance(body, str) else "application/json"
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # the client may be gone
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running server."""
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def ask(
    server: Server, *, calls: int = 1, talks: int = 1, tools: tuple[Tool, ...] = (), **options: str
) -> list[Completion]:
    """Return all completions of some calls, one after the other, of one model."""
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, stop=("END",), seed=40)

    async def run() -> list[Completion]:
        model = OpenAIModel("tiny", base_url=server.url, max_retries=options.pop("max_retries", "0"), **options)
        try:
            return [c for _ in range(calls) for c in await model.generate([TALK] * talks, sampling, tools)]
        finally:
            await model.close()

    return asyncio.run(run())


def test_request_says_all_of_the_sampling(server, monkeypatch):
    """Temperature, nucleus, limit, stop texts and a seed a conversation are sent, with the named key."""
    monkeypatch.setenv("MY_KEY", "secret")
    ask(server, talks=3, api_key_env="MY_KEY")
    first = server.requests[0]
    assert first["_path"] == "/v1/chat/completions"
    assert first["_auth"] == "Bearer secret"
    assert first["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert (first["temperature"], first["top_p"], first["max_tokens"], first["stop"]) == (
        0.5,
        0.9,
        7,
        ["END"],
    )
    assert sorted(request["seed"] for request in server.requests) == [40, 41, 42]


def test_base_url_comes_from_the_environment(server, monkeypatch):
    """`OPENAI_BASE_URL` is obeyed when no option says otherwise."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    model = OpenAIModel("tiny")

    async def run() -> str:
        text = (await model.generate([TALK], Sampling()))[0].text
        await model.close()
        return text

    assert asyncio.run(run()) == "hello"


def test_token_ids_and_logprobs_are_read(server):
    """vLLM's extensions become prompt ids, token ids and log-probabilities; the stop text is put back."""
    content = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]
    choice = answer(token_ids=[4, 5], logprobs={"content": content}, stop_reason="END")
    server.respond = lambda _: (200, choice | {"prompt_token_ids": [1, 2, 3]})
    completion = ask(server)[0]
    assert server.requests[0]["return_token_ids"] is True
    assert (completion.prompt_ids, completion.token_ids) == ([1, 2, 3], [4, 5])
    assert completion.logprobs == [-0.5, -1.5]
    assert (completion.text, completion.finish_reason) == ("helloEND", "stop")
    assert (completion.prompt_tokens, completion.completion_tokens) == (9, 2)


def test_tools_are_native_both_ways(server):
    """Tools go out as schemas, the model's calls come back, and earlier calls are sent whole."""
    call = {"id": "x1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    server.respond = lambda _: (
        200,
        answer(message={"content": None, "tool_calls": [call]}, finish_reason="tool_calls"),
    )
    completion = ask(server, tools=(TOOL,))[0]
    assert server.requests[0]["tools"][0]["function"]["name"] == "add"
    assert (completion.text, completion.finish_reason) == ("", "tool_calls")
    assert completion.tool_calls == [ToolCall(id="x1", function=FunctionCall(name="add", arguments='{"a":1}'))]

    async def answer_back() -> None:
        model = OpenAIModel("tiny", base_url=server.url)
        turn = Message(role="assistant", tool_calls=completion.tool_calls)
        await model.generate([[*TALK, turn, Message(role="tool", content="3", tool_call_id="x1")]], Sampling())
        await model.close()

    asyncio.run(answer_back())
    assert server.requests[1]["messages"][2:] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_call_id": "x1"},
    ]


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("Unrecognized request argument supplied: return_token_ids", "return_token_ids"),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens"),
        ("'logprobs' is not supported with this model", "logprobs"),
        ('"auto" tool choice requires --enable-auto-tool-choice', "tools"),
    ],
)
def test_a_refused_field_is_left_out_from_then_on(server, words, refused):
    """A server that minds an optional field is asked once more without it, and never again with it."""
    server.respond = lambda request: (400, {"error": {"message": words}}) if refused in request else (200, answer())
    assert [completion.text for completion in ask(server, calls=3, tools=(TOOL,))] == ["hello"] * 3
    assert [refused in request for request in server.requests] == [True, False, False, False]


def test_a_server_that_minds_unknown_fields_without_naming_them(server):
    """Extensions are dropped together before the first reply; if the server still refuses, its error is raised."""
    extensions = {"return_token_ids", "include_stop_str_in_output"}
    server.respond = lambda request: (
        (422, {"detail": "extra fields"}) if extensions & request.keys() else (200, answer())
    )
    assert len(ask(server, calls=2)) == 2
    assert len(server.requests) == 3
    server.respond = lambda _: (422, {"detail": "no such thing"})
    with pytest.raises(ModelError, match="422: no such thing"):
        ask(server)


def test_the_last_token_limit_is_never_given_up(server):
    """A server that minds both names of the limit is not asked for replies without end."""
    server.respond = lambda r: (
        400,
        {"error": {"message": "bad " + " ".join(k for k in r if k.startswith("max_"))}},
    )
    with pytest.raises(ModelError, match="400: bad max_completion_tokens"):
        ask(server)


def test_a_conversation_that_does_not_fit_is_told(server):
    """The server's refusal of a long prompt is the finish reason `context`, not an error."""
    words = "This model's maximum context length is 512 tokens. However, you requested 900 tokens."
    server.respond = lambda _: (400, {"error": {"message": words, "code": 400}})
    completion = ask(server)[0]
    assert (completion.finish_reason, completion.text) == ("context", "")


def test_a_reply_limit_beyond_the_window_is_lowered(server):
    """A prompt that fits is answered with a lower limit if the server refuses the requested one."""
    words = "max_tokens=7 cannot be greater than max_model_len=4"
    server.respond = lambda r: (400, {"error": {"message": words}}) if r["max_tokens"] > 4 else (200, answer())
    assert ask(server)[0].text == "hello"
    assert [request["max_tokens"] for request in server.requests] == [7, 1]


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (401, {"error": {"message": "Incorrect API key"}}, MissingError, "401: Incorrect API key"),
        (
            404,
            {"error": {"message": "The model `tiny` does not exist."}},
            MissingError,
            "404: The model `tiny`",
        ),
        (500, {"error": {"message": "engine  died\nbadly"}}, ModelError, "500: engine died badly"),
        (503, "<html>try later</html>", ModelError, "503: <html>try later</html>"),
        (200, {"choices": []}, ModelError, "not a chat completion"),
        (200, "<html>welcome</html>", ModelError, "not a chat completion"),
    ],
)
def test_errors_are_in_the_servers_words(server, status, body, kind, said):
    """Status and message of the server reach the user; a bad key or model is a missing thing."""
    server.respond = lambda _: (status, body)
    with pytest.raises(kind, match=said):
        ask(server)


def test_a_busy_server_is_asked_again(server):
    """Two replies of 503 and one of 429 cost time, not the conversation."""
    statuses = [503, 429, 503]
    server.respond = lambda _: (statuses.pop(), {"error": {"message": "busy"}}) if statuses else (200, answer())
    assert ask(server, max_retries="4")[0].text == "hello"
    assert len(server.requests) == 4


def test_concurrency_is_bounded(server):
    """Twelve conversations at concurrency three are never more than three at once."""
    import time

    def slow(_: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(0.05)
        return 200, answer()

    server.respond = slow
    assert len(ask(server, talks=12, concurrency="3")) == 12
    assert server.most == 3


def test_one_failure_ends_the_call(server):
    """A call of many conversations ends with the first error; the model is usable afterwards."""
    server.respond = lambda r: (500, {"error": {"message": "no"}}) if r["seed"] == 41 else (200, answer())

    async def run() -> str:
        model = OpenAIModel("tiny", base_url=server.url, max_retries="0")
        with pytest.raises(ModelError, match="500: no"):
            await model.generate([TALK] * 5, Sampling(seed=40))
        text = (await model.generate([TALK], Sampling(seed=1)))[0].text
        await model.close()
        await model.close()
        return text

    assert asyncio.run(run()) == "hello"


def test_no_server_names_the_address():
    """An address without a server is an error at the first call that names the address."""

    async def run() -> None:
        model = OpenAIModel("tiny", base_url="http://127.0.0.1:9/v1", max_retries="0")
        try:
            await model.generate([TALK], Sampling())
        finally:
            await model.close()

    with pytest.raises(MissingError, match=r"no connection to http://127\.0\.0\.1:9/v1/"):
        asyncio.run(run())


def test_a_server_that_goes_away_is_a_model_error(server):
    """After a first reply, a lost connection belongs to the conversation."""

    async def run() -> None:
        model = OpenAIModel("tiny", base_url=server.url, max_retries="0")
        await model.generate([TALK], Sampling())
        server.respond = lambda _: (0, None)
        try:
            await model.generate([TALK], Sampling())
        finally:
            await model.close()

    with pytest.raises(ModelError, match="no connection to"):
        asyncio.run(run())


def test_a_slow_server_is_given_up(server):
    """`timeout_s` bounds the wait and is named."""
    import time

    server.respond = lambda _: (time.sleep(1.0), (200, answer()))[1]
    with pytest.raises(ModelError, match=r"no reply within 0\.2 s"):
        ask(server, timeout_s="0.2")


def test_close_from_another_loop(server):
    """The client is closed on the loop that opened it, from any loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    model = OpenAIModel("tiny", base_url=server.url)
    future = asyncio.run_coroutine_threadsafe(model.generate([TALK], Sampling()), loop)
    assert future.result(10)[0].text == "hello"
    asyncio.run(model.close())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_openai_itself_needs_a_key(monkeypatch):
    """A missing key is an error that names the variable, before any request, unless there is a base_url."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingError, match="OPENAI_API_KEY is not set"):
        OpenAIModel("gpt")
