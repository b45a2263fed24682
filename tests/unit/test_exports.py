"""Exports, read by the code of the systems that they are for, and by the loaders that these use."""

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sca_retail
from tiny_model import save_tokenizer

from sca_cli import app, records
from sca_cli.errors import ExitCode
from sca_cli.exports.chat import llama_factory_row
from sca_cli.exports.source import Conversation
from sca_cli.records import EnvSpec, FunctionCall, Message, Rollout, Task, ToolCall, Verdict

pytestmark = pytest.mark.sandbox

KEPT = Verdict(passed=True, stage="kept")
TARIFF = Task(
    env=EnvSpec(name="calculation", options={"family": "trade_calculator"}),
    instruction="Change 250 euros into dollars at 1.08 dollars a euro, then name the tariff on that sum at 20 %.",
    evaluate="def evaluate(answer):\n    return isinstance(answer, (int, float)) and abs(answer - 54) < 0.01",
    solution="final_answer(calculate_tariff(convert_currency(250, 1.08), 20))",
    failure_cases=["final_answer(convert_currency(250, 1.08))", "final_answer(50)", "pass"],
    verdict=KEPT,
)
ROLLOUT = Rollout(
    task=TARIFF,
    messages=[
        Message(role="user", content=TARIFF.instruction),
        Message(role="assistant", tool_calls=[ToolCall(id="a", function=FunctionCall(name="x", arguments='{"a": 1}'))]),
        Message(role="tool", content="é 2", tool_call_id="a", name="x"),
        Message(role="assistant", content="```python\nfinal_answer(54)\n```"),
        Message(role="user", content="The session is over."),
    ],
    answer=54,
    outcome="pass",
    reward=1.0,
)


def state_task() -> Task:
    """Return a task of `retail` whose check reads the state."""
    path = Path(str(sca_retail.__file__)).with_name("eval.jsonl")
    tasks = (records.decode(line) for line in path.read_text().splitlines())
    task = next(task for task in tasks if isinstance(task, Task) and "cancel_pending_order" in task.solution)
    task.split, task.verdict = "train", KEPT
    return task


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a task that asks for an answer, and one that changes the state."""
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    path.write_bytes(records.encode(TARIFF) + b"\n" + records.encode(state_task()) + b"\n")
    return path


def export(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Run `sca export` in this process and return code and stderr."""
    code = app.run(["export", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert out == ""
    return code, err


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, *written: records.Record) -> Path:
    """Write records to a file and return its path."""
    path.write_bytes(b"".join(records.encode(record) + b"\n" for record in written))
    return path


# ---------------------------------------------------------------- the verb


def test_an_existing_directory_is_kept_as_it_is(capfd, tmp_path: Path, tasks: Path) -> None:
    """Export refuses a directory or a dangling link that exists, and changes nothing."""
    place = tmp_path / "chat"
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for target in (place, link):
        code, err = export(capfd, "chat", tasks, "-o", target)
        assert (code, "exists already" in err) == (ExitCode.USAGE, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat", "link"]
    assert (place / "mine.txt").read_text() == "mine"


def test_held_out_tasks_need_permission(capfd, tmp_path: Path) -> None:
    """A task of split eval, or a rollout of one, ends the export; nothing is left behind. --allow-eval exports it."""
    held_out = records.sealed(Task(**{**{n: getattr(TARIFF, n) for n in _FIELDS}, "split": "eval"}))
    for record in (held_out, Rollout(task=held_out, outcome="pass", messages=ROLLOUT.messages)):
        path = write(tmp_path / "tasks.jsonl", TARIFF, record)
        code, err = export(capfd, "chat", path, "-o", tmp_path / "chat")
        assert (code, "held out" in err, "--allow-eval" in err) == (ExitCode.RECORD, True, True)
        assert [each.name for each in tmp_path.iterdir()] == ["tasks.jsonl"]
    code, err = export(capfd, "chat", path, "-o", tmp_path / "chat", "--allow-eval")
    assert (code, "2 examples" in err) == (0, True)


_FIELDS = ("env", "instruction", "evaluate", "solution", "failure_cases", "verdict")


def test_tasks_without_a_verdict_are_an_error(capfd, tmp_path: Path) -> None:
    """Nothing proves the check of such a task. A rejected task and a failed attempt are left out and counted."""
    new = Task(env=TARIFF.env, instruction="i", evaluate="e")
    code, err = export(capfd, "chat", write(tmp_path / "new.jsonl", new), "-o", tmp_path / "chat")
    assert (code, "has no verdict" in err, "sca verify" in err) == (ExitCode.RECORD, True, True)
    rejected = Task(env=TARIFF.env, instruction="i", evaluate="e", verdict=Verdict(passed=False, stage="leak"))
    path = write(tmp_path / "poor.jsonl", rejected, Rollout(task=TARIFF, outcome="fail", messages=ROLLOUT.messages))
    code, err = export(capfd, "chat", path, "-o", tmp_path / "chat")
    assert (code, "1  sca verify rejected the task" in err, "1  the attempt failed" in err) == (1, True, True)
    assert not (tmp_path / "chat").exists()


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["hug"], "unknown export format 'hug'"),
        (["chat", "--name", "My-Tasks"], "--name My-Tasks: not a valid name"),
    ],
)
def test_wrong_arguments_are_named(capfd, tmp_path: Path, tasks: Path, arguments: list[str], text: str) -> None:
    """An unknown format and an unusable name are one error each; nothing is written."""
    code, err = export(capfd, *arguments, tasks, "-o", tmp_path / "out")
    assert code in (ExitCode.USAGE, ExitCode.MISSING)
    assert text in err
    assert not list(tmp_path.iterdir())


def test_a_plugin_adds_a_format(capfd, tmp_path: Path, tasks: Path, add_plugin: Callable[[str, str], None]) -> None:
    """`sca export` finds a format that another distribution registered, and names the extra that it lacks."""
    add_plugin(
        "outside_format",
        "from sca_cli import hookimpl\n@hookimpl\ndef sca_register_exporters(register):\n"
        "    register('ids', 'outside_format:export', help='ids')\n"
        "    register('heavy', 'outside_format:heavy', help='needs more', extra='hf')\n"
        "def export(source, folder):\n    ids = [task.id for task in source.tasks()]\n"
        "    (folder / 'ids.txt').write_text('\\n'.join(ids))\n    return len(ids)\n"
        "def heavy(source, folder):\n    import not_installed_here\n",
    )
    assert export(capfd, "ids", tasks, "-o", tmp_path / "ids")[0] == 0
    code, err = export(capfd, "heavy", tasks, "-o", tmp_path / "heavy")
    assert len((tmp_path / "ids" / "ids.txt").read_text().split()) == 2
    assert (code, "sca-cli[hf]" in err) == (ExitCode.MISSING, True)


# ---------------------------------------------------------------- chat


@pytest.fixture(scope="module")
def chat(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an export of two tasks and of a rollout."""
    place = tmp_path_factory.mktemp("chat")
    rollouts = write(place / "rollouts.jsonl", ROLLOUT)
    assert app.run(["export", "chat", str(tasks), str(rollouts), "-o", str(place / "out"), "-q"]) == 0
    return place / "out"


def test_a_solution_becomes_calls_with_their_results(chat: Path) -> None:
    """Each call of the solution is a turn with named arguments and its result; the last turn gives the answer."""
    (row, state, recorded) = rows(chat / "messages.jsonl")
    messages = json.loads(row["messages"])
    assert [message["role"] for message in messages] == ["system", "user"] + ["assistant", "tool"] * 2 + ["assistant"]
    calls = [message["tool_calls"][0]["function"] for message in messages if "tool_calls" in message]
    assert calls[0] == {"name": "convert_currency", "arguments": {"base_price": 250, "conversion_rate": 1.08}}
    assert calls[-1] == {"name": "final_answer", "arguments": {"answer": 54.0}}
    assert [message["content"] for message in messages if message["role"] == "tool"] == ["270.0", "54.0"]
    assert {calls[0]["name"], "final_answer"} <= {tool["function"]["name"] for tool in json.loads(row["tools"])}
    assert "cancel_pending_order" in state["messages"]
    last = json.loads(recorded["messages"])[-1]
    assert last == {"role": "assistant", "content": "```python\nfinal_answer(54)\n```"}


def test_loaders_change_no_argument(chat: Path, tmp_path: Path) -> None:
    """`datasets` reads each file; after decoding, messages and tools of all three are the same as before."""
    datasets = pytest.importorskip("datasets", reason="needs the dev tools")
    names = ["messages.jsonl", "axolotl.jsonl", "llama_factory.jsonl"]
    loaded = {
        name: list(
            datasets.load_dataset("json", data_files=str(chat / name), split="train", cache_dir=str(tmp_path / name))
        )
        for name in names
    }
    assert loaded["messages.jsonl"] == rows(chat / "messages.jsonl")
    for number, row in enumerate(loaded["messages.jsonl"]):
        before = [message["tool_calls"] for message in json.loads(row["messages"]) if "tool_calls" in message]
        read = loaded["axolotl.jsonl"][number]["messages"]
        after = [message["tool_calls"] for message in read if message.get("tool_calls")]
        for call in (call for calls in after for call in calls):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        assert after == before
        turns = loaded["llama_factory.jsonl"][number]["conversations"]
        texts = [json.loads(turn["value"]) for turn in turns if turn["from"] == "function_call"]
        assert texts == [[call["function"] for call in calls] for calls in before]


def test_a_chat_template_renders_the_text_columns(chat: Path, tmp_path: Path) -> None:
    """The README's line for unsloth gives a text with the tools, every call and every result."""
    transformers = pytest.importorskip("transformers", reason="needs the train extra")
    save_tokenizer(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    row = rows(chat / "messages.jsonl")[0]
    text = tokenizer.apply_chat_template(
        json.loads(row["messages"]), tools=json.loads(row["tools"]) or None, tokenize=False
    )
    for part in ('"name": "calculate_tariff"', '{"answer": 54.0}', "270.0", TARIFF.instruction):
        assert part in text


def test_turns_that_do_not_alternate_are_not_for_llama_factory() -> None:
    """Two replies in a row, or a conversation that the user ends, have no row; several results are one observation."""
    user, reply = {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}
    result = {"role": "tool", "content": "r"}
    assert llama_factory_row(Conversation([user, reply, reply], [], TARIFF)) is None
    assert llama_factory_row(Conversation([user, reply, user], [], TARIFF)) is None
    row = llama_factory_row(Conversation([user, reply, result, result, reply], [], TARIFF))
    assert row is not None
    assert [turn["value"] for turn in row["conversations"]] == ["u", "a", "r\nr", "a"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_axolotl_trains_on_the_calls(chat: Path, tmp_path: Path) -> None:
    """axolotl's own chat_template strategy puts a loss on each call and on nothing else."""
    strategy = pytest.importorskip(
        "axolotl.prompt_strategies.chat_template", reason="axolotl is not installed", exc_type=ImportError
    )
    import datasets
    import transformers

    save_tokenizer(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    path = str(chat / "axolotl.jsonl")
    row = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))[0]
    prompter = strategy.ChatTemplatePrompter(
        tokenizer, chat_template=tokenizer.chat_template, field_messages="messages", max_length=100_000
    )
    reader = strategy.ChatTemplateStrategy(
        prompter, tokenizer=tokenizer, train_on_inputs=False, sequence_len=100_000, roles_to_train=["assistant"],
        eot_tokens=["<|im_end|>"],
    )  # fmt: skip
    read = reader.tokenize_prompt(row)
    trained = [token for token, label in zip(read["input_ids"], read["labels"], strict=True) if label != -100]
    text = tokenizer.decode(trained)
    assert text.count("<tool_call>") == 3
    assert '"arguments": {"base_price": 250, "conversion_rate": 1.08}' in text
    assert "270.0" not in text.replace("base_price", "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_llama_factory_reads_every_turn(chat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLaMA-Factory's own code finds the file by dataset_info.json, aligns every turn, and formats calls and tools."""
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")  # it refuses the newest transformers; only its readers run here
    parser = pytest.importorskip(
        "llamafactory.data.parser", reason="llamafactory is not installed", exc_type=ImportError
    )
    import datasets
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.formatter import FunctionFormatter, ToolFormatter
    from llamafactory.hparams import DataArguments

    (attributes,) = parser.get_dataset_list(["sca_tasks"], str(chat))
    path = str(chat / attributes.dataset_name)
    read = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path))
    convert = get_dataset_converter(attributes.formatting, attributes, DataArguments(dataset_dir=str(chat)))
    aligned = [convert(row) for row in read]
    assert all(row["_prompt"] and row["_response"] for row in aligned)
    roles = [turn["role"] for turn in aligned[0]["_prompt"]]
    assert roles == ["user", "function", "observation", "function", "observation"]
    (text,) = FunctionFormatter(slots=["{{content}}"], tool_format="qwen").apply(
        content=aligned[0]["_prompt"][1]["content"]
    )
    assert '{"name": "convert_currency", "arguments": {"base_price": 250, "conversion_rate": 1.08}}' in text
    assert "calculate_tariff" in ToolFormatter(tool_format="qwen").apply(content=aligned[0]["_tools"])[0]


# ---------------------------------------------------------------- hf


def test_the_hub_form_loses_nothing(capfd, tmp_path: Path, tasks: Path) -> None:
    """`datasets` reads the file by the card; the records come back byte for byte, failed attempts included; the card's
    YAML passes the hub's own reader.
    """
    datasets = pytest.importorskip("datasets", reason="needs the dev tools")
    from huggingface_hub import DatasetCard

    failed = Rollout(task=TARIFF, sample=1, messages=ROLLOUT.messages, outcome="fail", reward=0.0)
    rollouts = write(tmp_path / "rollouts.jsonl", ROLLOUT, failed)
    code, err = export(capfd, "hf", tasks, rollouts, "-o", tmp_path / "hub")
    assert (code, "outside sca, no jail" in err) == (0, True)
    loaded = list(datasets.load_dataset(str(tmp_path / "hub"), split="train", cache_dir=str(tmp_path / "cache")))
    lines = tasks.read_bytes() + rollouts.read_bytes()
    assert "".join(row["record"] + "\n" for row in loaded).encode() == lines
    assert [row["outcome"] for row in loaded] == ["pass", "pass", "pass", "fail"]
    calls = [message["tool_calls"] for message in json.loads(loaded[0]["messages"]) if "tool_calls" in message]
    assert calls[0][0]["function"]["arguments"] == {"base_price": 250, "conversion_rate": 1.08}
    assert json.loads(loaded[0]["failure_cases"]) == TARIFF.failure_cases
    card = DatasetCard.load(tmp_path / "hub" / "README.md")
    assert card.data.to_dict()["configs"][0]["data_files"] == [{"split": "train", "path": "data.parquet"}]
    assert "`calculation:family=trade_calculator`: 3" in card.text


# ---------------------------------------------------------------- trl


@pytest.fixture
def environments(capfd, tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Export for TRL, and return the imported module of the classes."""
    code, err = export(capfd, "trl", tasks, "-o", tmp_path / "trl")
    assert (code, "Lost outside sca" in err) == (0, True)
    monkeypatch.syspath_prepend(str(tmp_path / "trl"))
    sys.modules.pop("environments", None)
    return importlib.import_module("environments")


def test_the_check_is_the_reward_of_the_class(environments: Any) -> None:
    """By the methods that TRL calls: the solution scores 1, each failure case 0, doing nothing 0; an instance can be
    reset.
    """
    path = Path(environments.__file__).with_name("train.jsonl")
    scores = []
    for row in rows(path):
        task = records.decode(row["task"])
        assert isinstance(task, Task)
        environment = environments.ENVIRONMENTS[row["environment"]]()
        for program in ["", task.solution, *task.failure_cases]:
            assert environment.reset(**row) is None
            _played(environment, program)
            scores.append(environment.get_reward())
        assert environment.final_answer("1") == "Error: the task has ended"
    assert scores == [0.0, 1.0, 0.0, 0.0, 0.0] * 2


def _played(environment: Any, program: str) -> None:
    """Run a program against the public methods of an environment, which return text."""

    def value(text: str) -> Any:
        if text.startswith("Error: "):
            raise ValueError(text)
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text

    tools = {name: getattr(environment, name) for name in dir(environment) if name[0] != "_"}
    names: dict[str, Any] = {
        name: lambda *args, _tool=tool, **kwargs: value(_tool(*args, **kwargs)) for name, tool in tools.items()
    }
    names["final_answer"] = lambda answer: environment.final_answer(json.dumps(answer))
    with contextlib.suppress(ValueError):
        exec(program, names)


def test_transformers_reads_the_signatures(environments: Any) -> None:
    """The schema that TRL shows the model has the names, types and descriptions of the tool."""
    chat_template_utils = pytest.importorskip("transformers.utils", reason="needs the train extra")
    (trade, *_) = environments.ENVIRONMENTS.values()
    schema = chat_template_utils.get_json_schema(trade().convert_currency)["function"]
    assert schema["parameters"]["required"] == ["base_price", "conversion_rate"]
    assert {each["type"] for each in schema["parameters"]["properties"].values()} == {"number"}
    for cls in environments.ENVIRONMENTS.values():
        for tool in [tool for tool in vars(cls) if tool[0] != "_"]:
            assert chat_template_utils.get_json_schema(getattr(cls(), tool))["function"]["description"]


# ---------------------------------------------------------------- verifiers


@pytest.mark.slow
def test_verifiers_validates_the_tasks_and_rejects_a_vacuous_one(capfd, tmp_path: Path, tasks: Path) -> None:
    """`vf-validate` accepts each exported task: its solution scores 1, each failure case and doing nothing 0. It
    rejects a task whose check always passes.

    verifiers cannot be installed beside our dev tools. VERIFIERS_VENV names an environment with it and with sca-cli.
    """
    venv = os.environ.get("VERIFIERS_VENV")
    if not venv:
        pytest.skip("VERIFIERS_VENV does not name an environment with verifiers and sca-cli")
    always = Task(
        **{**{name: getattr(TARIFF, name) for name in _FIELDS}, "evaluate": "def evaluate():\n    return True"}
    )
    path = write(tmp_path / "always.jsonl", always)
    path.write_bytes(tasks.read_bytes() + path.read_bytes())
    assert export(capfd, "verifiers", path, "-o", tmp_path / "package")[0] == 0
    subprocess.run(
        [f"{venv}/bin/vf-validate", "sca-tasks", "--rich", "False", "--runtime.type", "subprocess"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "package"), "PATH": f"{venv}/bin:{os.environ['PATH']}"},
        check=False,
        timeout=300,
    )
    (results,) = tmp_path.rglob("results.jsonl")
    validated = sorted(rows(results), key=lambda row: row["index"])
    assert [row["valid"] for row in validated] == [True, True, False]
    assert [row["noop"]["reward"] for row in validated] == [0.0, 0.0, 1.0]
