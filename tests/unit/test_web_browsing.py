"""The Web Browsing environment: its site, its browser tools, its state and its held-out evaluation set."""

import copy
import json
import re
from collections import Counter
from typing import Any

import pytest
from generators.web_browsing import make_eval
from hypothesis import given
from hypothesis import strategies as st
from sca_web_browsing.environment import VIEW_LINES, WebBrowsing
from sca_web_browsing.facts import MAIL_PATTERNS, draw, mail_of
from sca_web_browsing.pages import START, pages

from sca_cli import ToolError
from sca_cli.interfaces import tools_of
from sca_cli.records import EnvSpec, Task, decode

TOOLS = {
    "click_url": ["url"], "go_to_previous_page": [], "scroll_down": [], "scroll_up": [], "view": [],
    "calculator": ["expression"],
}  # fmt: skip
"""Names and parameters of M3ToolEval."""
LINK = re.compile(r"\]\(([^)]*)\)")
SEEDS = range(25)


@pytest.fixture
def browser() -> WebBrowsing:
    """A browser on the start page of seed 0."""
    return WebBrowsing()


def read(browser: WebBrowsing, url: str) -> list[str]:
    """Open a page and return its lines, by clicking and scrolling alone."""
    view = browser.click_url(url)
    lines = view.splitlines()[1:]
    while True:
        try:
            view = browser.scroll_down()
        except ToolError:
            return lines
        lines += view.splitlines()[1:]


# ---------------------------------------------------------------- the site


@pytest.mark.parametrize("seed", SEEDS)
def test_every_linked_page_exists_and_every_page_is_linked(seed: int) -> None:
    """Following all links from the start page reaches all pages, 60 or more, and no other url."""
    site = pages(draw(seed))
    seen: set[str] = set()
    waiting = {START}
    while waiting:
        seen |= waiting
        waiting = {url for known in waiting for line in site[known]() for url in LINK.findall(line)} - seen
    assert seen == set(site)
    assert len(seen) >= 60


@pytest.mark.parametrize("seed", SEEDS)
def test_pages_are_short_lines_of_text_and_many_need_scrolling(seed: int) -> None:
    """No line is empty, broken or longer than 130 characters; over half of the pages do not fit in a view."""
    written = [page() for page in pages(draw(seed)).values()]
    assert all(0 < len(line) <= 130 and line.isprintable() for lines in written for line in lines)
    assert sum(len(lines) > VIEW_LINES for lines in written) > len(written) / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_what_tasks_compare_is_never_equal(seed: int) -> None:
    """Prices in a shop, rents, sizes, seats, crossings and years have one winner; names and addresses one bearer."""
    facts = draw(seed)
    compared = [
        *([good["price"] for good in shop["goods"]] for shop in facts["shops"]),
        *([flat[key] for flat in facts["flats"]] for key in ("rent", "size_m2", "address")),
        [shop["founded"] for shop in facts["shops"]],
        [event["seats"] for event in facts["events"]],
        [ferry["minutes"] for ferry in facts["ferries"]],
        [room["oldest"] for room in facts["museum"]["rooms"]],
        [paper["readers"] for paper in facts["papers"]],
        [mail_of(facts, person["name"]) for person in facts["staff"]],
    ]
    assert all(len(set(values)) == len(values) for values in compared)


def test_addresses_are_made_as_the_contact_page_says() -> None:
    """The contact page describes the pattern of addresses in words and by an example; it depends on the seed, and every
    pattern occurs.
    """
    told = {}
    for seed in SEEDS:
        facts = draw(seed)
        page = "\n".join(pages(facts)["/institute/contact"]())
        assert mail_of(facts, "Robin Sample") in page
        told[facts["institute"]["mail"]] = mail_of(facts, "Robin Sample").split("@")[0]
    assert told == dict(zip(MAIL_PATTERNS, ("robin.sample", "r.sample", "sample.r", "robin_sample"), strict=True))


def test_the_site_is_the_seeds() -> None:
    """Same seed, same site to the letter; 25 seeds, 25 sites."""
    sites = ["\n".join(line for page in pages(draw(seed)).values() for line in page()) for seed in SEEDS]
    assert len(set(sites)) == len(sites)
    assert sites[7] == "\n".join(line for page in pages(draw(7)).values() for line in page())


# ---------------------------------------------------------------- the browser


def test_the_tools_are_those_of_m3tooleval(browser: WebBrowsing) -> None:
    """Six tools under its names and parameters; those that move the browser write, view and calculator do not."""
    tools = {name: tool for name, (tool, _) in tools_of(browser).items()}
    assert {name: list(tool.parameters["properties"]) for name, tool in tools.items()} == TOOLS
    assert {name for name, tool in tools.items() if not tool.writes} == {"view", "calculator"}
    for tool in tools.values():
        assert all(schema.get("description") for schema in tool.parameters["properties"].values())


def test_the_first_observation_is_the_first_view(browser: WebBrowsing) -> None:
    """The first observation is an agent's first view(), and it names the sections."""
    assert browser.first_observation() == browser.view()
    assert "[Shops](/shops)" in browser.view()
    assert browser.policy


def test_a_view_is_five_lines_under_their_place(browser: WebBrowsing) -> None:
    """The head of a view has the url, the numbers of its lines and their total; the last view may be shorter than five
    lines.
    """
    whole = pages(draw(0))["/about"]()
    assert browser.click_url("/about").splitlines() == [f"/about (lines 1 to 5 of {len(whole)})", *whole[:5]]
    assert browser.scroll_down().splitlines() == [f"/about (lines 6 to 8 of {len(whole)})", *whole[5:]]


@pytest.mark.parametrize("seed", [0, 11])
def test_clicking_and_scrolling_shows_every_line(browser: WebBrowsing, seed: int) -> None:
    """All pages can be read whole through the tools."""
    browser.reset(seed)
    for url, page in pages(draw(seed)).items():
        assert read(browser, url) == page()


def test_going_back_restores_page_and_scrolling(browser: WebBrowsing) -> None:
    """The way back shows each page as it was left, to the start page."""
    views = [browser.view(), browser.click_url("/faq"), browser.scroll_down()]
    browser.click_url("/shops")
    assert browser.go_to_previous_page() == views[2]
    assert browser.scroll_up() == views[1]
    assert browser.go_to_previous_page() == views[0]
    with pytest.raises(ToolError, match="no previous page"):
        browser.go_to_previous_page()


REFUSALS = [
    ([], "click_url", ["/nowhere"], "no page '/nowhere'.*links in view: /about, /shops, /institute$"),
    (["/about", "down"], "click_url", [""], "no page ''.*links in view: /faq$"),
    (["/faq", "down"], "click_url", ["\ud800"], r"no page '\\ud800'.*links in view: none"),
    ([], "click_url", ["x" * 9_999], "no page 'x{60}'"),
    (["/about", "back"], "go_to_previous_page", [], "no previous page"),
    (["down", "down"], "scroll_down", [], "end of the page"),
    (["/shops", "down", "up"], "scroll_up", [], "top of the page"),
    ([], "calculator", ["2 +"], "not complete arithmetic"),
    ([], "calculator", ["view()"], "only numbers"),
    ([], "calculator", ["9 ** 9 ** 9"], "too large"),
]


@pytest.mark.parametrize(("moves", "name", "args", "message"), REFUSALS)
def test_a_refused_call_says_why_and_changes_nothing(
    browser: WebBrowsing, moves: list[str], name: str, args: list[Any], message: str
) -> None:
    """A refusal is a ToolError with what would be right; the state stays as it was."""
    move(browser, moves)
    before = copy.deepcopy(browser.state())
    with pytest.raises(ToolError, match=message):
        tools_of(browser)[name][1](*args)
    assert browser.state() == before


def test_reading_tools_change_nothing(browser: WebBrowsing) -> None:
    """view() and calculator() leave the state as it is, wherever the browser stands."""
    for url in ("/faq", "/institute/staff", "/shops"):
        browser.click_url(url)
        before = copy.deepcopy(browser.state())
        assert browser.view() == browser.view()
        assert browser.calculator("(3 + 4.5) * 2") == 15
        assert browser.state() == before


MOVES = st.lists(
    st.sampled_from(["back", "down", "up", "/", "/about", "/faq", "/shops", "/institute/staff", "/none"]), max_size=20
)


def move(browser: WebBrowsing, moves: list[str]) -> list[str]:
    """Make moves and return what each gave, refusals too."""
    seen = []
    for each in moves:
        calls = {"back": browser.go_to_previous_page, "down": browser.scroll_down, "up": browser.scroll_up}
        try:
            seen.append(calls[each]() if each in calls else browser.click_url(each))
        except ToolError as refusal:
            seen.append(str(refusal))
    return seen


@given(before=MOVES, after=MOVES, seed=st.integers(0, 999))
def test_a_state_that_went_through_json_is_the_same_browser(before: list[str], after: list[str], seed: int) -> None:
    """After restore() another environment shows what this one shows, whatever is done next, and neither moves the
    other.
    """
    one, other = WebBrowsing(), WebBrowsing()
    one.reset(seed)
    move(one, before)
    kept = one.state()
    text = json.dumps(kept)
    other.restore(json.loads(text))
    assert move(other, after) == move(one, after)
    assert one.state() == other.state()
    assert json.dumps(kept) == text


def test_reset_leaves_nothing_of_the_episode_before(browser: WebBrowsing) -> None:
    """Page, scrolling and history are those of a new browser."""
    fresh = copy.deepcopy(browser.state())
    move(browser, ["/faq", "down", "/about"])
    browser.reset(0)
    assert browser.state() == fresh


# ---------------------------------------------------------------- the evaluation set


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    """The committed evaluation set."""
    records = [decode(line) for line in WebBrowsing.eval_path().read_bytes().splitlines()]
    assert all(isinstance(record, Task) for record in records)
    return [record for record in records if isinstance(record, Task)]


def test_the_evaluation_set_is_graded(tasks: list[Task]) -> None:
    """66 tasks, a third of up to three calls, a third of four or five, a third of more; all held out, none twice."""
    calls = [task.calls or 0 for task in tasks]
    assert Counter((count > 3) + (count > 5) for count in calls) == {0: 22, 1: 22, 2: 22}
    assert {(task.split, str(task.env), len(task.failure_cases)) for task in tasks} == {("eval", "web_browsing", 3)}
    assert len({task.id for task in tasks}) == len({(task.seed, task.instruction) for task in tasks}) == 66
    assert sum("view()" in task.evaluate for task in tasks) >= 6


def test_making_the_evaluation_set_again_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """`python -m generators.web_browsing.make_eval` reproduces the committed file."""
    committed = WebBrowsing.eval_path().read_bytes()
    monkeypatch.setattr(WebBrowsing, "eval_path", classmethod(lambda _cls: tmp_path / "eval.jsonl"))
    make_eval.main()
    assert (tmp_path / "eval.jsonl").read_bytes() == committed


@pytest.mark.sandbox
def test_the_evaluation_set_proves_itself_in_the_sandbox(tasks: list[Task]) -> None:
    """Every task is kept by the filter with the calls it claims, and doing nothing fails it by verdict."""
    from sca_cli.sandbox import Sandbox
    from sca_cli.verification.paper_filter import run_check, verify

    with Sandbox() as sandbox:
        for task in tasks:
            verdict = verify(sandbox, task)
            assert verdict.stage == "kept", (task.instruction, verdict)
            assert len(verdict.checks[0].calls) == task.calls
            assert run_check(sandbox, task, "", "no-op").outcome == "fail", task.instruction
            task.verdict = None


@pytest.mark.sandbox
def test_a_check_may_look_but_not_browse() -> None:
    """In the sandbox a check sees the page the agent left; a move by the check is refused."""
    from sca_cli.sandbox import Sandbox

    check = (
        "def evaluate():\n    try:\n        click_url('/faq')\n    except ToolError:\n"
        "        return view().startswith('/about (lines 6')\n    return False"
    )
    with Sandbox() as sandbox, sandbox.session(EnvSpec(name="web_browsing"), 5) as session:
        assert session.run("click_url('/about')\nscroll_down()").ok
        assert session.evaluate(check).outcome == "pass"
