"""The proofs of `sca verify` after the paper's filter, in real pipes: duplicates, --seen, --paper, --agree."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import BIN, environment, sca_program
from loop_script import code

from sca_cli import streams
from sca_cli.records import EnvSpec, Rollout, Task, encode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

ENV = EnvSpec(name="calculation", options={"family": "message_decoder"})
WORDS = ("drawer", "stressed", "reknits", "repaid")
QUICK = ("--skip", "random", "--skip", "wrong", "--skip", "deterministic", "--skip", "conditions")
"""Options that skip the expensive stages, for tests that are only about duplicates."""
PHRASES = (
    "Which text do you get when you write the word {word} backwards?",
    "Turn the word {word} round, letter by letter, and report it.",
    "Spell {word} from its end to its beginning.",
)


def backwards(word: str, phrase: str = PHRASES[0], name: str = "", *, slow_s: float = 0.0) -> Task:
    """Return a good task, a word to write backwards; one of its failure cases sleeps for `slow_s`."""
    call = f"reverse_string('{word}')"
    waits = f"import time\ntime.sleep({slow_s})\n" if slow_s else ""
    return Task(
        env=ENV,
        instruction=phrase.format(word=word),
        evaluate=f"def evaluate(answer):\n    return answer == {call}",
        solution=f"{name} = {call}\nfinal_answer({name})" if name else f"final_answer({call})",
        failure_cases=[f"final_answer('{word}')", f"{waits}final_answer({call}[1:])", f"final_answer({call} + 'x')"],
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that writes tasks to a file and returns their ids."""

    def put(name: str, tasks: Sequence[Task]) -> list[str]:
        (tmp_path / name).write_bytes(b"".join(encode(task) + b"\n" for task in tasks))
        return [task.id for task in tasks]

    return put


def written(path: Path) -> list[Task]:
    """Return the tasks of a file."""
    return list(streams.read([str(path)], Task))


def stream() -> list[Task]:
    """Return tasks of which a third are new; the new ones finish after the duplicates that follow them."""
    first = [backwards(word, slow_s=0.3) for word in WORDS]
    again = [backwards(word, phrase) for phrase in PHRASES[1:] for word in WORDS]
    return [first[0], again[0], *first[1:3], *again[1:6], *first[3:], *again[6:]]


def test_duplicates_fall_whatever_finishes_first(sca, write, tmp_path: Path) -> None:
    """The earliest of several duplicates in the input is kept, with the same bytes at any concurrency."""
    tasks = stream()
    write("candidates", tasks)
    outputs = []
    for width in (1, 8):
        ended = sca(
            "verify", "candidates", "-o", f"kept{width}", "--rejected", f"fell{width}", "--concurrency", width, *QUICK
        )
        assert ended.returncode == 0, ended.stderr
        outputs.append([(tmp_path / f"{name}{width}").read_bytes() for name in ("kept", "fell")])
    assert outputs[0] == outputs[1]
    earliest: dict[str, str] = {}
    for task in tasks:
        earliest.setdefault(task.solution, task.id)
    assert [task.id for task in written(tmp_path / "kept8")] == list(earliest.values())
    fallen = written(tmp_path / "fell8")
    assert len(fallen) == len(tasks) - len(WORDS)
    assert {task.verdict.stage for task in fallen if task.verdict} == {"duplicate"}
    counts = {words[0]: words[1] for line in ended.stderr.decode().splitlines() if len(words := line.split()) >= 2}
    assert (counts["literals"], counts["duplicate"], counts["shapes"]) == (str(len(tasks)), str(len(WORDS)), "1")


def test_duplicates_are_the_same_after_a_kill(write, tmp_path: Path) -> None:
    """After kill -9 and --resume, tasks kept before the kill count as earlier ones, and the output has the same
    bytes.
    """
    write("candidates", stream())
    rest = ["verify", "candidates", "--concurrency", "8", "-q", *QUICK]

    def finish(*more: str) -> list[bytes]:
        ended = subprocess.run(
            [sca_program(), *rest, *more], capture_output=True, cwd=tmp_path, env=environment(), check=False, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        return [(tmp_path / name).read_bytes() for name in (more[1], more[3])]

    expected = finish("-o", "reference", "--rejected", "reference.fell")
    with subprocess.Popen(
        [BIN / "sca", *rest, "-o", "out", "--rejected", "fell"], stderr=subprocess.PIPE, cwd=tmp_path, env=environment()
    ) as process:
        out = tmp_path / "out"
        while not out.exists() or out.read_bytes().count(b"\n") < 2:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        process.kill()
    # What is kept may all be there already: then duplicates are still to come.
    assert [out.read_bytes(), (tmp_path / "fell").read_bytes()] != expected
    assert finish("-o", "out", "--rejected", "fell", "--resume") == expected


def test_tasks_seen_before_count_as_earlier(sca, write, tmp_path: Path) -> None:
    """--seen FILE rejects duplicates of the tasks in FILE; other wordings of the same program are reported."""
    write("monday", [backwards(word) for word in WORDS[:2]])
    assert sca("verify", "monday", "-o", "kept.monday", "-q", *QUICK).returncode == 0
    ids = write("tuesday", [backwards(word, PHRASES[1], "text") for word in WORDS[2:]])
    repeated = write("again", [backwards(word, PHRASES[2]) for word in WORDS])
    ended = sca("verify", "tuesday", "again", "--seen", "kept.monday", "-o", "kept", "--rejected", "fell", "-q", *QUICK)
    assert ended.returncode == 0, ended.stderr
    kept = written(tmp_path / "kept")
    assert [task.id for task in kept] == [*ids, *repeated[2:]]
    assert [task.id for task in written(tmp_path / "fell")] == repeated[:2]
    reports = [[(found.stage, found.rejects) for found in task.verdict.findings] for task in kept if task.verdict]
    assert reports == [[], *[[("duplicate", False)]] * 3]


def test_the_papers_filter_alone_keeps_what_the_paper_keeps(sca, write, tmp_path: Path) -> None:
    """--paper runs only check, solution and failure cases; without it, tasks with planted defects are rejected too."""
    good, leaking = backwards("drawer"), backwards("stressed", "Write {word} backwards: the answer is desserts.")
    accepting, unneeded, wrong, lenient = (backwards(word) for word in ("reknits", "repaid", "gateman", "sleets"))
    accepting.evaluate = "def evaluate(answer):\n    return answer != 'x'"
    accepting.failure_cases = ["final_answer('x')"] * 3
    unneeded.solution = "final_answer('diaper')"
    wrong.solution = "final_answer('gate')"
    lenient.failure_cases[1] = lenient.solution
    again = backwards("drawer", PHRASES[1])
    tasks = [good, leaking, accepting, unneeded, wrong, lenient, again]
    ids = write("candidates", tasks)
    ended = sca("verify", "candidates", "--paper", "-o", "paper", "--rejected", "paper.fell", "-q")
    assert ended.returncode == 0, ended.stderr
    kept = written(tmp_path / "paper")
    assert [task.id for task in kept] == [*ids[:4], ids[6]]
    assert all(task.verdict and len(task.verdict.checks) == 4 and not task.verdict.findings for task in kept)
    assert stages(tmp_path / "paper.fell") == {ids[4]: "solution", ids[5]: "failures"}
    assert sca("verify", "candidates", "-o", "kept", "--rejected", "fell", "-q").returncode == 0
    assert [task.id for task in written(tmp_path / "kept")] == ids[:1]
    assert stages(tmp_path / "fell") == dict(
        zip(ids[1:], ["leak", "no-op", "tools", "solution", "failures", "duplicate"], strict=True)
    )


def stages(path: Path) -> dict[str, str]:
    """Return the stage that rejected each task of a file."""
    return {task.id: task.verdict.stage for task in written(path) if task.verdict}


@pytest.mark.parametrize("strict", [False, True])
def test_attempts_tell_a_mislabelled_task_and_an_unsolved_one(
    sca, script, write, tmp_path: Path, *, strict: bool
) -> None:
    """--agree rejects a task if the check refuses the answer of most attempts. It reports a task that no attempt
    solves, which --strict rejects too. The kept attempts have their wall times with --times.
    """
    good, unsolved = backwards("drawer"), backwards("stressed")
    mislabelled = backwards("reknits", "How do you write the word {word}, letter for letter?")
    ids = write("candidates", [good, mislabelled, unsolved])
    model = script(
        {"when": "word drawer", "replies": [code("final_answer(reverse_string('drawer'))")]},
        {"when": "word reknits", "replies": [code("final_answer('Reknits')")]},
        {"when": "word stressed", "replies": [code("final_answer('it is {seed}')")]},
    )
    line = ["verify", "candidates", "--agree", model, "--attempts", "3", "-o", "kept", "--rejected", "fell", "-q"]
    ended = sca(*line, "--rollouts", "tried", *(["--strict", "--times"] if strict else []))
    assert ended.returncode == 0, ended.stderr
    tried = [rollout for rollout in streams.read([str(tmp_path / "tried")], Rollout)]
    assert [(rollout.task, rollout.sample) for rollout in tried] == [
        (task, sample) for task in written(tmp_path / "kept") for sample in range(3)
    ]
    assert len({rollout.id for rollout in tried}) == len(tried)
    assert {rollout.outcome for rollout in tried[:3]} == {"pass"}
    assert {rollout.usage.seconds is not None for rollout in tried} == {strict}
    found = {task.id: task for name in ("kept", "fell") for task in written(tmp_path / name)}
    verdicts = [task.verdict for task in (found[each] for each in ids) if task.verdict]
    assert [verdict.stage for verdict in verdicts] == ["kept", "agreement", "agreement" if strict else "kept"]
    assert [(each.attempts, each.passed, each.majority) for verdict in verdicts if (each := verdict.agreement)] == [
        (3, 3, 3),
        (3, 0, 3),
        (3, 0, 1),
    ]
    messages = [
        [finding.message for finding in verdict.findings if finding.stage == "agreement"] for verdict in verdicts
    ]
    assert messages == [
        [],
        ["mislabelled: 3 of 3 attempts agree on 'Reknits', which the check rejects"],
        ["unsolved: none of 3 attempts passes"],
    ]


def test_attempts_to_keep_need_somebody_who_makes_them(sca, write, tmp_path: Path) -> None:
    """--rollouts without --agree is a usage error, and no file is written."""
    write("candidates", [backwards("drawer")])
    ended = sca("verify", "candidates", "--rollouts", "tried")
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"--rollouts needs --agree MODEL" in ended.stderr
    assert not (tmp_path / "tried").exists()
