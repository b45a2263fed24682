"""The report: what is counted, what is drawn, and that nothing a model wrote is more than text."""

import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_records import full_records

from sca_cli.records import (
    Agreement,
    AnyRecord,
    Check,
    Checkpoint,
    EnvSpec,
    ErrorNote,
    Exploration,
    Finding,
    Interval,
    MadeBy,
    Message,
    Observation,
    Overlap,
    Rollout,
    Score,
    SharedTasks,
    Task,
    Usage,
    Verdict,
    encode,
    sealed,
)
from sca_cli.report import places
from sca_cli.report.arms import arms
from sca_cli.report.gather import Gathered
from sca_cli.report.markup import NOTHING
from sca_cli.report.page import page
from sca_cli.report.places import Place
from sca_cli.verification import paper_filter
from sca_cli.verification.funnel import Funnel

ENV = EnvSpec(name="shop")
VOID = {"meta", "br", "wbr"}
ATTRIBUTES = {
    "aria-hidden", "charset", "class", "content", "cx", "cy", "height", "href", "http-equiv", "id", "lang", "name",
    "open", "points", "r", "role", "scope", "style", "text-anchor", "viewbox", "width", "x", "x1", "x2", "y", "y1",
    "y2",
}  # fmt: skip


class Reader(HTMLParser):
    """Reads a page strictly: every tag that opens is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "tr" in self.open and self.rows[-1]:
            self.rows[-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")


def read(written: str) -> Reader:
    """Return what a page says, after it proved well-formed."""
    reader = Reader()
    reader.feed(written)
    reader.close()
    assert reader.open == []
    return reader


def gathered(*records: AnyRecord, place: Place = Place(), seed: int = 0) -> Gathered:  # noqa: B008  immutable
    """Return what is gathered of records found in one place."""
    found = Gathered(seed)
    found.add(map(sealed, records), place)
    return found


def made(number: int) -> MadeBy:
    """Return the stamp of candidate number so-and-so."""
    return MadeBy(command="challenge", model="scripted:x", seed=number, version="1")


def verified(number: int, *tools: str, stage: str = "kept", **fields: Any) -> Task:
    """Return a task whose solution called some tools."""
    calls = [Observation(tool=tool) for tool in tools]
    ran = [Check(name="solution", outcome="pass", calls=calls), Check(name="no-op", outcome="fail")]
    verdict = Verdict(passed=stage == "kept", stage=stage, checks=ran, **fields)
    return sealed(
        Task(
            env=ENV, seed=number, method="cat", instruction=f"task {number}", evaluate="e",
            solution=f"add({number})", verdict=verdict, made_by=made(number),
        )
    )  # fmt: skip


def candidate(task: Task) -> Task:
    """Return a task as it was before it was verified."""
    return msgspec.structs.replace(task, verdict=None)


def refused(number: int) -> Task:
    """Return a candidate that could not be read; all of one exploration have one id."""
    note = ErrorNote(boundary="task", message="unparsable")
    return Task(env=ENV, seed=1, method="cat", instruction="", evaluate="", error=note, made_by=made(number))


def at(value: float) -> Interval:
    """Return an estimate with its interval."""
    return Interval(value=value, low=value / 2, high=(1 + value) / 2)


def score(model: str, value: float, against: str = "", **fields: Any) -> Score:
    """Return a score."""
    difference = Interval(value=0.05, low=-0.01, high=0.1) if against else None
    every = {
        "pass_at": {"1": at(value)},
        "by_calls": {"1": at(value), "3+": at(value / 2)},
        "by_env": {"shop": at(value)},
    }
    return sealed(Score(model=model, tasks=10, samples=4, against=against, difference=difference, **(every | fields)))


# ---------------------------------------------------------------- the page


def test_every_kind_of_record_gives_a_well_formed_page_that_asks_nothing_of_the_network() -> None:
    """Tags nest, nothing is loaded, the policy allows no script, and no address is in it."""
    written = page(gathered(*full_records()))
    reader = read(written)
    assert reader.tags & {"script", "link", "img", "iframe", "object", "form", "base"} == set()
    assert reader.attributes <= ATTRIBUTES
    assert re.search(r"https?:|url\(|@import", written) is None
    assert "default-src 'none'" in written
    assert {"Scores", "Funnel", "Learning", "Coverage", "Agreement", "Cost", "Tasks"} & set(reader.text.split())


HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;\u202e\x00\x1b[2J\ufeff]]>--><!--\U0001f468\u200d\U0001f4bb"
)


def spoilt(value: Any, key: str = "") -> Any:
    """Return a record's fields with every free text, names of fields included, replaced by a hostile one."""
    fixed = {"kind", "role", "outcome", "split", "type", "where"}
    if isinstance(value, str):
        return value if key in fixed else HOSTILE
    if isinstance(value, list):
        return [spoilt(each, key) for each in value]
    if isinstance(value, dict):
        free = key in {"by_calls", "by_env", "pass_at", "pass_hat", "options", "written_by", "metrics"}
        return {HOSTILE + name if free else name: spoilt(each, name) for name, each in value.items()}
    return value


def test_what_a_model_wrote_is_text_wherever_it_stands() -> None:
    """Hostile text in every field of every record and in the place adds no tags and no attributes to the page."""
    records = [*full_records(), verified(1, "add", findings=[Finding(stage="leak", message="m", rejects=False)])]
    attempt = Rollout(
        task=verified(1, "add"), outcome="pass", answer="a", messages=[Message(role="assistant", content="c")]
    )
    records += [attempt, Exploration(env=ENV, observations=[Observation(tool="t", result="r")])]
    plain = read(page(gathered(*records)))
    bad = [msgspec.convert(spoilt(msgspec.to_builtins(record)), type(record)) for record in records]
    for record in bad:
        if isinstance(record, Task) and record.verdict:
            record.verdict.stage, record.verdict.passed = "kept", True
    written = page(gathered(*bad, place=Place(arm=HOSTILE, stem=HOSTILE)))
    reader = read(written)
    assert reader.tags <= plain.tags | {"wbr", "h3"}
    assert reader.attributes <= plain.attributes
    assert "<script>alert(1)</script>" in reader.text
    assert not set("\u202e\x00\x1b\ufeff\u200d") & set(written)
    assert "⟨U+202E⟩" in reader.text


def test_the_order_of_the_records_does_not_change_what_is_read_or_drawn() -> None:
    """Records of a run shuffled: the same bytes, and attempts are found before and after their tasks."""
    tasks = [verified(number, *["add"] * (number % 4 + 1)) for number in range(200)]
    attempts = [
        Rollout(task=task, sample=sample, outcome=outcome, messages=[Message(role="assistant", content=outcome)])
        for task in tasks
        for sample, outcome in enumerate(("pass", "fail"))
    ]
    records: list[AnyRecord] = [*tasks, *attempts]
    first = page(gathered(*records))
    random.Random(1).shuffle(records)
    assert page(gathered(*records)) == first
    assert first.count("An attempt that passed") == first.count("An attempt that failed") == 30
    assert page(gathered(*records, seed=1)) != first


# ---------------------------------------------------------------- places


def test_a_place_tells_arm_seed_and_round(tmp_path: Path) -> None:
    """Directories are searched in order, a file named twice is read once, and places are below what all share."""
    names = ["score.jsonl", "seed-1/eval.jsonl.b", "controls/random/seed-0/round-2/score-b.jsonl", "notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [place for _, place in places.files_to_read([str(tmp_path), str(tmp_path / "score.jsonl")])]
    assert found == [
        Place("controls/random", 0, 2, "score-b"),
        Place("", None, None, "score"),
        Place("", 1, None, "eval.jsonl"),
    ]
    two = places.files_to_read([str(tmp_path / "controls"), str(tmp_path / "seed-1" / "eval.jsonl.b")])
    assert [place.arm for _, place in two] == ["controls/random", ""]
    assert list(places.files_to_read(["-"])) == [("-", Place())]


# ---------------------------------------------------------------- counts


def test_the_funnel_is_that_of_verify_however_many_files_hold_a_task() -> None:
    """The funnel of candidates, kept and rejected tasks has the figures of verify and counts each candidate once."""
    tasks = [verified(1, "add"), verified(2, "add"), verified(3, stage="solution"), verified(4, stage="leak")]
    errors = [refused(5), refused(6)]
    funnel = Funnel(["parsed", *paper_filter.STAGES])
    for task in [*tasks, *errors]:
        funnel.count(task)
    files = [*map(candidate, tasks), *errors, *tasks, *errors, *tasks]
    rows = {row[0]: row[1] for row in read(page(gathered(*files))).rows}
    told = {line.split()[0]: line.split()[1:] for line in funnel.lines()[1:]}
    assert rows["candidates"] == "6"
    for stage in ("parsed", *paper_filter.STAGES):
        if stage != "agreement":
            assert rows[stage].split("%")[0].split() == [told[stage][0], told[stage][1].rstrip("%")], stage
    assert rows["shapes"] == told["shapes"][0] == "1"


def test_candidates_of_which_nobody_knows_are_in_no_share() -> None:
    """Candidates without a verdict are in no percentage of the funnel, and are counted separately."""
    tasks = [verified(number, "add") for number in range(3)]
    rows = {row[0]: row[1] for row in read(page(gathered(tasks[0], *map(candidate, tasks)))).rows}
    assert (rows["candidates"], rows["no verdict"]) == ("1", "2")


def test_proofs_that_were_not_made_are_not_told() -> None:
    """Verdicts of the paper's filter alone say nothing of the stages after it."""
    task = verified(1, "add")
    assert task.verdict is not None
    del task.verdict.checks[1:]
    rows = {row[0]: row[1] for row in read(page(gathered(task))).rows}
    assert (rows["failures"][:1], rows["no-op"]) == ("1", NOTHING)


def test_coverage_counts_tools_and_what_follows_what() -> None:
    """The matrix has a row for every tool, used or met while exploring, and empty cells for pairs that never occur."""
    seen = [Observation(tool=tool) for tool in ("add", "read", "pay")]
    tasks = [verified(1, "read", "add", "add"), verified(2, "read", "add"), verified(3, "add")]
    reader = read(page(gathered(Exploration(env=ENV, observations=seen), *tasks, verified(4, "pay", stage="leak"))))
    rows = {row[0]: row[1:] for row in reader.rows}
    assert rows["1 add"] == ["3", "1", "", ""]
    assert rows["2 read"] == ["2", "2", "", ""]
    assert rows["3 pay"] == ["", "", "", ""]
    assert [rows[calls] for calls in "123"] == [["1"], ["1"], ["1"]]
    assert "3 verified tasks use 2 of the 3 tools that were called, and 2 of 9 ordered pairs" in reader.text


def test_agreement_is_told_before_and_after() -> None:
    """The agreement of attempted tasks and of kept tasks is shown in two rows."""
    wrong = Finding(stage="agreement", message="mislabelled: …")
    hard = Finding(stage="agreement", message="unsolved: …", rejects=False)
    tasks = [
        verified(1, "add", agreement=Agreement(attempts=5, passed=5)),
        verified(2, "add", agreement=Agreement(attempts=5, passed=0), findings=[hard]),
        verified(3, "add", agreement=Agreement(attempts=5, passed=0), findings=[wrong], stage="agreement"),
    ]
    rows = {row[0]: row[1:] for row in read(page(gathered(*tasks, *tasks))).rows}
    assert rows["main, all attempted"] == ["3", "1 33.3 %", "1 33.3 %", "5 33.3 %"]
    assert rows["main, kept"] == ["2", "0 0.0 %", "1 50.0 %", "5 50.0 %"]


def test_cost_counts_attempts_once_and_a_score_only_without_them() -> None:
    """Tokens and minutes are summed over attempts; a score's tokens are left out where its attempts are there."""
    usage = Usage(prompt_tokens=100, completion_tokens=10, turns=2, seconds=90.0)
    by = MadeBy(command="eval", model="scripted:m", seed=1)
    attempts = [
        Rollout(task=verified(1, "add"), sample=sample, outcome=outcome, usage=usage, made_by=by, judged_by=judge)
        for sample, (outcome, judge) in enumerate([("pass", ""), ("fail", "scripted:j"), ("invalid", "")])
    ]
    ours, theirs = score("scripted:m", 0.5, usage=usage), score("scripted:n", 0.5, usage=usage, invalid=3)
    found = [row for row in read(page(gathered(*attempts, *attempts, ours, theirs))).rows if row[0] == "main: eval"]
    assert found == [
        ["main: eval", "scripted:m", "3", "1", "1", "1", "1", "1", "300", "30", "6", NOTHING, "4.5"],
        ["main: eval", "scripted:n", "40", NOTHING, NOTHING, "3", NOTHING, NOTHING, "100", "10", "2", NOTHING, "1.5"],
    ]


def test_cost_counts_explorations_and_candidates_once_however_many_files_hold_them() -> None:
    """The cost of each method is one row, and each exploration or candidate counts once, rejected replies included."""
    usage = Usage(prompt_tokens=100, completion_tokens=10, turns=2, seconds=30.0)
    walk = Exploration(env=ENV, usage=usage, made_by=MadeBy(command="explore", model="scripted:x", seed=1))
    tasks = [verified(1, "add"), verified(2, stage="leak"), refused(3), refused(4)]
    composed = msgspec.structs.replace(verified(5, "add"), method="compose")
    for task in [*tasks, composed]:
        task.usage = usage
    uncounted = verified(6, "add")
    files = [walk, *map(candidate, tasks), walk, *tasks, composed, composed, uncounted]
    attempt = Rollout(task=tasks[0], outcome="pass", made_by=MadeBy(command="rollout", model="scripted:x", seed=1))
    rows = [row for row in read(page(gathered(*files, attempt))).rows if row[0].startswith("main: ")]
    nobody = [NOTHING] * 5
    assert [row for row in rows if row[1] != NOTHING and row[0] != "main: rollout"] == [
        ["main: challenge --method cat", "scripted:x", "4", *nobody, "400", "40", "8", NOTHING, "2.0"],
        ["main: challenge --method compose", "scripted:x", "1", *nobody, "100", "10", "2", NOTHING, "0.5"],
        ["main: explore", "scripted:x", "1", *nobody, "100", "10", "2", NOTHING, "0.5"],
    ]
    assert [row[2:] for row in rows if row[0] == "main: rollout"] == [
        ["1", "1", "0", "0", "1", "0", NOTHING, NOTHING, NOTHING, NOTHING, NOTHING]
    ]


# ---------------------------------------------------------------- scores and curves


def scored() -> Gathered:
    """Return a run of two seeds with a control, each compared with the same baseline."""
    found = Gathered(0)
    for seed, value in enumerate((0.4, 0.6)):
        base = score("base", 0.2 + seed / 10)
        found.add([base, score(f"trained-{seed}", value, "base")], Place("", seed, None, "score"))
        found.add([base, score(f"control-{seed}", 0.3, "base")], Place("controls/x", seed, None, "score"))
    return found


def test_controls_stand_beside_the_main_arm_and_seeds_beside_their_mean() -> None:
    """One table has baseline, main and control for each seed with interval and difference; the baseline counts once."""
    rows = [row for row in read(page(scored())).rows if len(row) == 5][:10]
    assert [row[0] for row in rows] == [
        "Pass@1", "baseline, seed 0", "baseline, seed 1", "baseline, mean of 2 seeds", "main, seed 0", "main, seed 1",
        "main, mean of 2 seeds", "controls/x, seed 0", "controls/x, seed 1", "controls/x, mean of 2 seeds",
    ]  # fmt: skip
    assert rows[4][1:] == ["40.0 % [20.0, 70.0]", "40.0 % [20.0, 70.0]", "20.0 % [10.0, 60.0]", "+5.0 [-1.0, +10.0]"]
    assert rows[6][1:] == ["50.0 % 40.0 to 60.0", "50.0 % 40.0 to 60.0", "25.0 % 20.0 to 30.0", "+5.0"]
    assert [(arm.label, arm.tone) for arm in arms(scored())] == [
        ("baseline", "base"), ("main", "main"), ("controls/x", "other"),
    ]  # fmt: skip


def test_a_baseline_held_against_what_each_arm_trained_on_counts_once() -> None:
    """One measurement with another `overlap` in each arm, and so another id, is one baseline."""
    found = Gathered(0)
    for arm, trained in (("", 1), ("controls/x", 2)):
        none = SharedTasks(tasks=0)
        base = score("base", 0.2)
        base.overlap = Overlap(trained=trained, same=0, instruction=none, program=none, either=none, calls=none)
        found.add([sealed(base), score(f"trained-{trained}", 0.4, "base")], Place(arm, 0, None, "score"))
    assert [arm.label for arm in arms(found)] == ["baseline", "main", "controls/x"]


def test_scores_of_one_place_are_told_apart() -> None:
    """Scores of one place are named after their files; several in one file that are not compared, after their
    models.
    """
    found = Gathered(0)
    found.add([score("m", 0.1)], Place(stem="score-before"))
    found.add([score("n", 0.1)], Place(stem="score-after"))
    found.add([score("a", 0.1), score("b", 0.2)], Place(stem="scores"))
    assert [arm.label for arm in arms(found)] == ["before", "after", "main", "main · b"]
    found.add([score("b", 0.3), score("b", 0.4)], Place(stem="scores"))
    assert [arm.label for arm in arms(found)][4:] == ["main · b (2)", "main · b (3)"]


def attempted(model: str, *outcomes: str) -> list[Rollout]:
    """Return two attempts at each of some held-out tasks, of 1, 2, 3 … calls: `pf` is a pass and a fail."""
    return [
        Rollout(
            task=sealed(Task(env=ENV, instruction=f"held out {calls}", evaluate="e", calls=calls, split="eval")),
            sample=sample,
            outcome="pass" if letter == "p" else "fail",
            made_by=MadeBy(command="eval", model=model, seed=sample),
            answer=model,
        )
        for calls, letters in enumerate(outcomes, 1)
        for sample, letter in enumerate(letters)
    ]


def test_arms_are_compared_in_pairs_where_their_attempts_are_there() -> None:
    """Main minus baseline, main minus control, control minus baseline: of all tasks and by number of calls; the
    attempts of the baseline count once, wherever they stand, and apart from those that were trained on.
    """
    found = Gathered(0)
    base, main, control = attempted("base", "pf", "ff"), attempted("m", "pp", "pf"), attempted("c", "pf", "pf")
    for records, value, place in ((main, 0.75, Place(stem="score")), (control, 0.5, Place("controls/x", stem="score"))):
        model = "m" if records is main else "c"
        levels = {"1": at(0.5), "2+": at(0.5)}
        scores = [score("base", 0.25, by_calls=levels), score(model, value, "base", by_calls=levels)]
        found.add(map(sealed, [*base, *records, *scores]), place)
    found.add(
        [sealed(Rollout(task=verified(1, "add"), outcome="pass", made_by=MadeBy(command="rollout", model="m")))],
        Place(),
    )
    rows = {row[0]: row[1:] for row in read(page(found)).rows}
    assert [each.partition(" ")[0] for each in rows["main minus baseline"]] == ["+50.0", NOTHING, "+50.0", "+50.0"]
    assert rows["main minus controls/x"][1] == "1.50 [1.00, 2.00]"
    assert [each.partition(" ")[0] for each in rows["main minus controls/x"]] == ["+25.0", "1.50", "+50.0", "+0.0"]
    assert [each.partition(" ")[0] for each in rows["controls/x minus baseline"]] == ["+25.0", NOTHING, "+0.0", "+50.0"]
    evaluated = [row[:5] for row in read(page(found)).rows if row[0].endswith(": eval")]
    assert evaluated == [
        ["main: eval", "base", "4", "1", "3"],
        ["main: eval", "m", "4", "3", "1"],
        ["controls/x: eval", "c", "4", "2", "2"],
    ]
    assert rows["main: rollout"][:3] == ["m", "1", "1"]


def test_attempts_at_other_tasks_stand_beside_those_that_were_scored() -> None:
    """A file of the same model's attempts at other tasks, as at development tasks, takes nothing away."""
    found = Gathered(0)
    main, base = attempted("m", "pp", "pf"), attempted("base", "pf", "ff")
    found.add(map(sealed, [*base, *main, score("base", 0.25), score("m", 0.75, "base")]), Place(stem="score"))
    others = attempted("m", "ff", "ff", "ff")
    for rollout in others:
        rollout.task = msgspec.structs.replace(rollout.task, id=rollout.task.id[::-1])
    found.add(map(sealed, others), Place(stem="dev"))
    rows = {row[0]: row[1:] for row in read(page(found)).rows}
    assert rows["main minus baseline"][0].startswith("+50.0")


def test_attempts_that_are_not_those_scored_are_not_compared() -> None:
    """A file of attempts of another measurement of the same model says nothing of this score."""
    found = Gathered(0)
    found.add(
        map(sealed, [*attempted("base", "pf"), *attempted("m", "pp"), score("base", 0.5), score("m", 0.9, "base")]),
        Place(),
    )
    assert "Differences of Pass@1" not in page(found)


def test_the_overlap_with_what_was_trained_on_is_told() -> None:
    """How many tasks share something, the score of the others and its difference; none shared is a nought."""
    none = SharedTasks(tasks=0, pass_at_1=at(0.5))
    calls = SharedTasks(tasks=4, pass_at_1=at(0.4), difference=Interval(value=0.1, low=-0.1, high=0.3))
    overlap = Overlap(trained=7, same=1, instruction=none, program=SharedTasks(tasks=10), either=none, calls=calls)
    shown = read(page(gathered(score("m", 0.5, overlap=overlap)))).rows
    (row,) = [row[1:] for row in shown if row[:2] == ["main", "7"]]
    assert row == ["7", "1", "0", "10 sharenone is left", "0", "4 share40.0 % [20.0, 70.0]+10.0 [-10.0, +30.0]"]


def test_rounds_make_a_curve_that_begins_at_the_baseline() -> None:
    """Two rounds and the baseline are three points with their intervals."""
    found = Gathered(0)
    for number in (1, 2):
        trained = score(f"trained-{number}", 0.2 * number, "base")
        found.add([score("base", 0.1), trained], Place("", None, number, "score"))
    drawn = re.findall(r"<title>Pass@1 by round</title>.*?</svg>", page(found), re.DOTALL)
    assert len(drawn) == 1
    assert drawn[0].count("<circle") == 3
    assert "main, round 2" in page(found)


@pytest.mark.parametrize(
    "metrics",
    [
        {"losses": [0.5, 0.25, 0.125], "seconds": 90.0, "steps": 3},
        {"losses": [0.5] * 5000, "steps": 5000},
        {"losses": "many", "steps": [1], "seconds": "long"},
        {"losses": [10**400, -(10**400)], "steps": 10**400},
        {"losses": [0.0, 0.0]},
        {},
    ],
)
def test_the_loss_curve_takes_whatever_a_checkpoint_says(metrics: dict[str, Any]) -> None:
    """Losses are drawn where they are a list of numbers, long ones thinned; anything else is a dash."""
    checkpoint = Checkpoint(path="p", base_model="b", algorithm="rft", metrics=metrics)
    written = page(gathered(msgspec.json.decode(encode(checkpoint), type=Checkpoint)))
    read(written)
    assert ("Training loss by step" in written) == (isinstance(metrics.get("losses"), list))
    lines = re.findall(r'points="([^"]*)"', written)
    assert all(2 <= len(line.split()) <= 400 for line in lines)
    assert "nan" not in written and "inf" not in "".join(lines)


def test_the_curves_of_a_training_are_those_of_its_metrics_file(tmp_path: Path) -> None:
    """A record's curves come from the metrics file beside it, each once; a training that still runs is drawn too.

    Values below zero are drawn below the line of zero.
    """
    rounds = {"reward": [0.25, 0.5]}
    checkpoint = sealed(
        Checkpoint(path="t", base_model="b", algorithm="grpo", metrics={"losses": [1.0, 2.0], "rounds": rounds})
    )
    (tmp_path / "checkpoint.jsonl").write_bytes(encode(checkpoint) + b"\n")
    for name in ("trained", "next.work"):
        (tmp_path / name).mkdir()
        losses = (-0.5, 0.5, 0.25) if name == "trained" else (1.0, 0.5)
        lines = [{"step": step, "loss": loss, "reward": 0.1} for step, loss in enumerate(losses, 1)]
        (tmp_path / name / "metrics.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    (tmp_path / "trained" / "sca-checkpoint.json").write_bytes(encode(checkpoint))
    with (tmp_path / "next.work" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "lo')
    found = Gathered(0)
    found.read([str(tmp_path)])
    written = page(found)
    read(written)
    assert (found.files, found.foreign) == (3, [])
    assert written.count("Training loss by step") == written.count("Reward (mean of the round) by step") == 2
    assert 'points="44.0,196.0 212.0,12.0 380.0,58.0"' in written
    assert "main: grpo</span>" in written and "next.work</span>" in written
    alone = page(gathered(checkpoint))
    assert alone.count("Training loss by step") == alone.count("Reward (mean of the round) by step") == 1
