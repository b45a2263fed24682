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
        self.headers: dict[str, str] = {}
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
                for name, value in outer.headers.items():
                    self.send_header(name, value)
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


# ---------------------------------------------------------------- odd servers

STREAM = (
    'data: {"choices": [{"delta": {"role": "assistant", "content": "hel"}}]}\n\n'
    'data: {"choices": [{"delta": {"content": "lo"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}\n\n'
    "data: [DONE]\n\n"
)
READ = {
    "a lone surrogate": ('{"choices": [{"message": {"content": "hel\\ud83dlo"}}]}', "hel\ufffdlo"),
    "NaN": ('{"choices": [{"message": {"content": "hello"}, "logprobs": {"content": [{"logprob": NaN}]}}]}', "hello"),
    "no usage": ({"choices": [{"message": {"content": "hello"}}]}, "hello"),
    "odd usage": (answer() | {"usage": {"prompt_tokens": "many", "completion_tokens": None}}, "hello"),
    "choices is no list": ({"choices": {"message": {"content": "hello"}}}, "hello"),
    "three choices": (answer() | {"choices": answer()["choices"] * 3}, "hello"),
    "content in parts": (answer(message={"content": ["hel", {"type": "text", "text": "lo"}]}), "hello"),
    "an unknown finish reason": (answer(finish_reason="eos"), "hello"),
    "a stop reason that is no stop text": (answer(stop_reason="end_turn"), "hello"),
    "a refusal": (answer(message={"content": None, "refusal": "hello"}), "hello"),
    "an event stream": (STREAM, "hello"),
    "a byte order mark": ("\ufeff" + json.dumps(answer()), "hello"),
    "text after the stop text": (answer(message={"content": "hello END and more"}), "hello END"),
    "no message at all": ({"choices": [{"text": "hello"}]}, "hello"),
}


@pytest.mark.parametrize(("body", "text"), READ.values(), ids=READ)
def test_odd_responses_are_read(server, body, text):
    """A field of an unknown form counts as absent; the text is read, and can be written as UTF-8."""
    server.respond = lambda _: (200, body)
    completion = ask(server)[0]
    assert completion.text == text
    assert (completion.finish_reason, completion.logprobs) == ("stop", None)
    completion.text.encode()


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ({"function": {"name": " add", "arguments": {"a": 1}}}, '{"a": 1}'),
        ({"function": {"name": "add", "arguments": None}}, "{}"),
        ({"function": {"name": "add", "parameters": {"a": 1}}}, '{"a": 1}'),
        ({"name": "add", "arguments": '{"a": 1}'}, '{"a": 1}'),
    ],
)
def test_odd_calls_are_read(server, call, arguments):
    """Arguments may be absent or an object, under another name, and the function may be flat."""
    server.respond = lambda _: (200, answer(message={"content": None, "tool_calls": [call]}))
    (read,) = ask(server)[0].tool_calls
    assert (read.function.name, read.function.arguments) == ("add", arguments)


@pytest.mark.parametrize(("wait", "requests"), [("86400", 1), ("0", 4), ("soon", 4)])
def test_a_server_that_asks_for_hours_is_not_asked_again(server, monkeypatch, wait, requests):
    """A limit of the day costs one request for each attempt; a short wait, or one that is no number, costs retries."""
    monkeypatch.setattr("sca_openai.client._PAUSE_S", (0.0, 0.0))
    server.respond, server.headers = lambda _: (429, {"error": {"message": "daily limit"}}), {"retry-after": wait}
    with pytest.raises(ModelError, match="the server says 429: daily limit"):
        ask(server, max_retries="3")
    assert len(server.requests) == requests


BROKEN = {
    "an empty body": ("", "it is empty"),
    "HTML": ("<html>log in</html>", "<html>log in</html>"),
    "an error with status 200": ({"error": {"message": "upstream overloaded", "code": 502}}, "upstream overloaded"),
    "no choices": ({"choices": None, "error": {"message": "flagged"}}, "flagged"),
    "deeply nested": ("[" * 100_000, "not a chat completion"),
    "an error as finish reason": (answer(message={"content": ""}, finish_reason="error", error="died"), "died"),
    "an empty event stream": ("data: [DONE]", "not a chat completion"),
    "a number": ("7", "not a chat completion: 7"),
}


@pytest.mark.parametrize(("body", "words"), BROKEN.values(), ids=BROKEN)
def test_unreadable_responses_are_retried_and_then_quoted(server, body, words, monkeypatch):
    """A broken response costs a retry; the last one is an error in the server's words."""
    monkeypatch.setattr("sca_openai.client._PAUSE_S", (0.0, 0.0))
    server.respond = lambda _: (200, body)
    with pytest.raises(ModelError, match=words.replace("[", r"\[")):
        ask(server, max_retries="1")
    assert len(server.requests) == 2
    bodies = [body]
    server.respond = lambda _: (200, bodies.pop() if bodies else answer())
    assert ask(server, max_retries="1")[0].text == "hello"


def test_a_reply_that_the_server_withheld_is_an_error(server):
    """A content filter says nothing about the model, so there is no completion."""
    server.respond = lambda _: (200, answer(message={"content": None}, finish_reason="content_filter"))
    with pytest.raises(ModelError, match="withheld the reply"):
        ask(server)


REJECTED = {
    "System role not supported": lambda r: any(m["role"] == "system" for m in r["messages"]),
    "Conversation roles must alternate user/assistant/user": lambda r: r["messages"][0]["role"] == "system",
    "'stop' is not supported with this model": lambda r: "stop" in r,
    "Unsupported value: 'temperature' does not support 0.5. Only the default (1) value is supported": (
        lambda r: r.get("temperature") != 1
    ),
    "`temperature` is deprecated for this model": lambda r: "temperature" in r,
    "`temperature` and `top_p` cannot both be specified": lambda r: "temperature" in r and "top_p" in r,
    "tiny does not support tools": lambda r: "tools" in r,
    "Generator does not use offset": lambda r: "seed" in r,
    "Unrecognized request argument supplied: logprobs": lambda r: "logprobs" in r,
}


@pytest.mark.parametrize(("words", "is_rejected"), REJECTED.items(), ids=REJECTED)
def test_a_feature_that_the_server_rejects_is_given_up_once_and_reported(server, capsys, words, is_rejected):
    """The request is sent again without the feature, later requests do not contain it, and one line says so."""
    server.respond = lambda r: (400, {"error": {"message": words}}) if is_rejected(r) else (200, answer())
    assert len(ask(server, calls=2, tools=(TOOL,))) == 2
    assert [is_rejected(request) for request in server.requests] == [True, False, False]
    assert capsys.readouterr().err.count("rejects") == 1


@pytest.mark.parametrize(
    "words",
    [
        "The request was rejected: it asks for tools that are not allowed",
        "Invalid 'tools': array too long, at most 128",
        "stop: the conversation violates the policy",
        "Unexpected content about tools in the prompt",
        "'seed' must be an integer in [0, 10]",
    ],
)
def test_a_refusal_that_only_mentions_a_field_gives_nothing_up(server, words, capsys):
    """The words of a refusal are an error of one request; the next one has all fields."""
    server.respond = lambda _: (400, {"error": {"message": words}})
    with pytest.raises(ModelError):
        ask(server, tools=(TOOL,))
    assert len(server.requests) == 1
    assert capsys.readouterr().err == ""


TOO_LONG = [
    (400, "max_tokens must be at least 1, got -38."),
    (400, "The prompt (total length 41000) is too long to fit into the model (context length 32768)."),
    (500, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
    (400, "You passed 257 input tokens and requested 8 output tokens. However, the model's context length is only 256"),
    (400, "prompt is too long: 215000 tokens > 200000 maximum"),
    (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    (400, "the request exceeds the available context size, try increasing it"),
    (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    (400, "Input is too long for requested model."),
    (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"),
    (400, "Please reduce the length of the messages or completion."),
    (413, "Request too large for model `x`"),
]


@pytest.mark.parametrize(("status", "words"), TOO_LONG)
def test_overflow_in_every_servers_words_is_context_within_two_requests(server, status, words):
    """A conversation that does not fit is the finish reason `context`."""
    server.respond = lambda _: (status, {"error": {"message": words}})
    assert ask(server)[0].finish_reason == "context"
    assert len(server.requests) <= 2


def test_a_reply_limit_is_lowered_to_the_room_that_the_server_names(server):
    """The second request asks for what is left of the window."""
    words = "maximum context length is 256 tokens and your request has 252 input tokens (7 > 256 - 252)"
    server.respond = lambda r: (400, {"error": {"message": words}}) if r["max_tokens"] > 4 else (200, answer())
    ask(server)
    assert [request["max_tokens"] for request in server.requests] == [7, 4]


def test_a_reply_limit_above_the_window_is_lowered_to_a_part_of_the_window(server):
    """vLLM's first message does not tell the length of the prompt, and its message about a long prompt only a bound."""
    words = "max_tokens=7 cannot be greater than max_model_len=4. Please request fewer output tokens."
    server.respond = lambda r: (400, {"error": {"message": words}}) if r["max_tokens"] > 4 else (200, answer())
    ask(server)
    assert [request["max_tokens"] for request in server.requests] == [7, 1]


def test_a_stop_text_that_ended_the_reasoning_costs_one_more_request(server):
    """The reply is sampled again without stop texts, which are then never sent to this model."""
    thought, spoken = answer(message={"content": "<think>x"}), answer(message={"content": "<think>END</think>a END b"})
    server.respond = lambda r: (200, thought if "stop" in r else spoken)
    assert [c.text for c in ask(server, calls=2)] == ["<think>END</think>a END"] * 2
    assert ["stop" in request for request in server.requests] == [True, False, False]


def test_reasoning_apart_from_the_text_is_kept(server):
    """`reasoning_content`, `reasoning` and parts of the content are the reasoning of the completion."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "hello"}]
    for message in ({"reasoning_content": "hm"}, {"reasoning": "hm"}, {"content": parts}):
        server.respond = lambda _, message=message: (200, answer(message=message))
        completion = ask(server)[0]
        assert (completion.text, completion.reasoning) == ("hello", "hm")


def test_parameters_get_a_type_if_the_server_needs_one(server):
    """A server that needs a type for each parameter is sent the same tools with types."""
    tool = Tool("f", "F.", {"type": "object", "properties": {"x": {}, "y": {"items": {}}}}, "f(x, y)", "int")

    def respond(request: dict[str, Any]) -> tuple[int, Any]:
        untyped = request["tools"][0]["function"]["parameters"]["properties"] == {"x": {}, "y": {"items": {}}}
        words = "Invalid schema for function 'f' in tools: property 'x' must have a 'type' key."
        return (400, {"error": {"message": words}}) if untyped else (200, answer())

    server.respond = respond
    assert len(ask(server, calls=2, tools=(tool,))) == 2
    assert len(server.requests) == 3


def test_the_first_failure_of_a_server_that_died_is_told(server):
    """After an error of the server, a lost connection quotes the error instead of asking to start the server."""

    async def run() -> None:
        model = OpenAIModel("tiny", base_url=server.url, max_retries="0")
        server.respond = lambda _: (500, {"error": {"message": "EngineCore encountered an issue"}})
        with pytest.raises(ModelError, match="EngineCore"):
            await model.generate([TALK], Sampling())
        server.respond = lambda _: (0, None)
        try:
            await model.generate([TALK], Sampling())
        finally:
            await model.close()

    with pytest.raises(ModelError, match="before that the server said 500: EngineCore encountered an issue"):
        asyncio.run(run())


def test_seeds_fit_in_31_bits_and_can_be_left_out(server):
    """Servers differ in the seeds they take; `seed=false` sends none."""
    ask(server, seed="false")
    assert "seed" not in server.requests[0]

    async def run() -> None:
        model = OpenAIModel("tiny", base_url=server.url)
        await model.generate([TALK], Sampling(seed=2**31 + 5))
        await model.close()

    asyncio.run(run())
    assert server.requests[1]["seed"] == 5
    assert "top_p" not in server.requests[1]


def test_a_query_of_the_base_url_is_sent_with_each_request(server, monkeypatch):
    """Azure's servers need `?api-version=…`, and read the key from a header of their own."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret\n")

    async def run() -> None:
        model = OpenAIModel("tiny", base_url=f"{server.url}?api-version=2024-06-01")
        await model.generate([TALK], Sampling())
        await model.close()

    asyncio.run(run())
    assert server.requests[0]["_path"] == "/v1/chat/completions?api-version=2024-06-01"
    assert server.requests[0]["_auth"] == "Bearer secret"


def test_a_proxy_is_not_used_for_this_machine(server, monkeypatch):
    """A proxy in the environment cannot reach a local server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(server)[0].text == "hello"


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": "0"},
        {"timeout_s": "nan"},
        {"timeout_s": "-1"},
        {"max_retries": "-1"},
        {"seed": "no"},
        {"base_url": "localhost:8000/v1"},
    ],
)
def test_options_out_of_range_are_errors(options):
    """A value that would hang or fail later is an error at once."""
    with pytest.raises(ValueError, match="="):
        OpenAIModel("tiny", **{"base_url": "http://127.0.0.1:9/v1"} | options)


def test_a_key_with_a_line_break_is_an_error(monkeypatch):
    """A line break at the end of a key is removed; one inside is an error that names the variable."""
    monkeypatch.setenv("OPENAI_API_KEY", "one\ntwo")
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        OpenAIModel("tiny", base_url="http://127.0.0.1:9/v1")


def test_replayed_conversations_are_what_strict_servers_take(server):
    """Arguments that are no object are sent as `{}`, no reply is empty, and no user message follows another."""
    call = ToolCall(id="x", function=FunctionCall(name="add", arguments='{"a": '))
    messages = [
        *TALK,
        Message(role="user", content="more"),
        Message(role="assistant"),
        Message(role="user", content="again"),
        Message(role="assistant", tool_calls=[call]),
        Message(role="tool", content="Error", tool_call_id="x"),
    ]

    async def run() -> None:
        model = OpenAIModel("tiny", base_url=server.url)
        await model.generate([messages], Sampling())
        await model.close()

    asyncio.run(run())
    sent = server.requests[0]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user", "assistant", "tool"]
    assert all(message["content"] or message.get("tool_calls") for message in sent)
    assert sent[4]["tool_calls"][0]["function"]["arguments"] == "{}"
