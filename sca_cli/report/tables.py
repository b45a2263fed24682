"""The sections that are tables of counts: funnel, coverage, agreement, cost."""

from collections.abc import Iterator, Mapping, Sequence

from sca_cli.report.counts import Agreed, Coverage, Spent
from sca_cli.report.gather import STAGES, Gathered
from sca_cli.report.markup import NOTHING, cell, minutes, note, number, section, share, table, text
from sca_cli.verification import paper_filter

_PAPER = 1 + len(paper_filter.PAPER_STAGES)
"""So many stages every funnel has: parsed, and the paper's filter."""

_MOST_TOOLS = 40
"""A matrix of more tools is cut to those used most."""


def arm_name(arm: str) -> str:
    """Return what an arm is called."""
    return arm or "main"


# ---------------------------------------------------------------- funnel


def funnel(gathered: Gathered) -> str:
    """Return the section on what became of the candidates."""
    columns = [(arm, env, method) for arm, env in gathered.funnels for method in gathered.funnels[arm, env].methods()]
    unproven = gathered.unproven()
    columns = sorted({*columns, *unproven})
    if not columns:
        return ""
    head = ["", *(_heading(gathered, column) for column in columns)]
    rows = [
        ("candidates", [cell(number(_total(gathered, column))) for column in columns]),
        *_stages(gathered, columns),
        ("shapes", [cell(_shapes(gathered, column)) for column in columns]),
    ]
    missing = ""
    if unproven:
        rows.append(("no verdict", [cell(number(unproven[column])) for column in columns]))
        missing = (
            " <em>No verdict</em>: candidates of which no file says what became of them; they are in no share. Keep "
            "what fell with <code>sca verify --rejected</code>, or wait for a run that goes on."
        )
    remark = (
        "Candidates that passed each stage and all before it. <em>Shapes</em>: programs of the kept tasks that differ "
        "in more than literals and names." + missing
    )
    return section("funnel", "Funnel", note(remark), table(head, rows))


def _heading(gathered: Gathered, column: tuple[str, str, str]) -> str:
    arm, env, method = column
    several = len({each for each, _ in [*gathered.funnels, *((a, e) for a, e, _ in gathered.unproven())]}) > 1
    return "<br>".join(text(part) for part in ([arm_name(arm)] if several else []) + [env, method])


def _total(gathered: Gathered, column: tuple[str, str, str]) -> int:
    found = gathered.funnels.get(column[:2])
    return found.total(column[2]) if found and column[2] in found.methods() else 0


def _shapes(gathered: Gathered, column: tuple[str, str, str]) -> str:
    found = gathered.funnels.get(column[:2])
    return number(found.shapes(column[2])) if found else NOTHING


def _stages(gathered: Gathered, columns: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, list[str]]]:
    tried = bool(gathered.agreed)
    passed = [
        {each.stage: each for each in gathered.funnels[column[:2]].passed(column[2])}
        if _total(gathered, column)
        else {}
        for column in columns
    ]
    for stage in STAGES:
        if stage == "agreement" and not tried:
            continue
        cells = []
        for column, found in zip(columns, passed, strict=True):
            if stage not in found or (stage in STAGES[_PAPER:] and column not in gathered.beyond):
                cells.append(cell(NOTHING))
                continue
            _, left, part, reported = found[stage]
            told = f'{number(left)} <span class="ci">{share(part)}</span>'
            told += f'<br><span class="ci">{number(reported)} reported</span>' if reported else ""
            cells.append(cell(told, of=part, kind="bar"))
        yield text(stage), cells


# ---------------------------------------------------------------- coverage


def coverage(gathered: Gathered) -> str:
    """Return the section on tools: what was seen of them, and which verified tasks use which."""
    parts = [_matrix(gathered, key, found) for key, found in sorted(gathered.coverage.items())]
    return section("coverage", "Coverage of tools", _walks(gathered), *parts)


def _walks(gathered: Gathered) -> str:
    rows = [
        (
            text(f"{env} ({arm_name(arm)})" if arm else env),
            [cell(number(value)) for value in (walks.count, walks.calls, walks.refused, len(walks.tools))],
        )
        for (arm, env), walks in sorted(gathered.walks.items())
    ]
    head = ["", "explorations", "tool calls", "refused", "tools seen"]
    return table(head, rows, caption="Explorations") if rows else ""


def _matrix(gathered: Gathered, key: tuple[str, str], found: Coverage) -> str:
    arm, env = key
    explored = gathered.walks[key].tools if key in gathered.walks else set()
    every = sorted(explored | set(found.tools), key=lambda tool: (-found.tools[tool], tool))
    tools = every[:_MOST_TOOLS]
    most = max(found.pairs.values(), default=1)
    rows = [
        (
            f"{place} {text(tool)}",
            [cell(number(found.tools[tool]) if found.tools[tool] else "", kind="" if found.tools[tool] else "empty")]
            + [_pair(found.pairs[tool, after], most) for after in tools],
        )
        for place, tool in enumerate(tools, 1)
    ]
    possible = len(every) ** 2
    told = (
        f"{number(found.tasks)} verified tasks use {number(len(found.tools))} of {number(len(every))} tools seen and "
        f"{number(len(found.pairs))} of {number(possible)} ordered pairs. A row is a tool, a column the tool that was "
        "called next; <em>tasks</em> counts those that use the tool at all."
    )
    if len(every) > len(tools):
        told += f" The {number(len(every) - len(tools))} tools used least are left out of the table."
    head = ["", "tasks", *(str(place) for place in range(1, len(tools) + 1))]
    title = f"<h3>{text(env)}{text(f' ({arm})') if arm else ''}</h3>"
    return f"{title}\n{note(told)}\n{table(head, rows, kind='matrix')}\n{_calls(found)}"


def _pair(count: int, most: int) -> str:
    return cell(number(count), of=count / most, kind="heat") if count else cell("", kind="empty")


def _calls(found: Coverage) -> str:
    most = max(found.calls.values())
    rows = [
        (str(calls), [cell(number(tasks), of=tasks / most, kind="bar")]) for calls, tasks in sorted(found.calls.items())
    ]
    return table(["calls of the solution", "tasks"], rows)


# ---------------------------------------------------------------- agreement


def agreement(gathered: Gathered) -> str:
    """Return the section on attempts at the instructions of tasks (`verify --agree`)."""
    rows = []
    for (arm, kept), found in sorted(gathered.agreed.items()):
        rows.append((text(f"{arm_name(arm)}, {'kept' if kept else 'all that were tried'}"), _agreed(found)))
    if not rows:
        return ""
    remark = (
        "<em>Mislabelled</em>: most attempts at the instruction come to one outcome, and the check refuses it. "
        "<em>Unsolved</em>: no attempt passes. Where the round trip has dropped what it calls mislabelled, none of the "
        "kept tasks is: another model's attempts, or a reader, say how sound they are."
    )
    head = ["", "tasks", "mislabelled", "unsolved", "attempts the check passes"]
    return section("agreement", "Agreement of instruction and check", note(remark), table(head, rows))


def _agreed(found: Agreed) -> list[str]:
    parts = [(found.mislabelled, found.tried), (found.unsolved, found.tried), (found.passed, found.attempts)]
    shares = [
        f'{number(part)} <span class="ci">{share(part / whole)}</span>' if whole else NOTHING for part, whole in parts
    ]
    return [cell(number(found.tried)), *(cell(told) for told in shares)]


# ---------------------------------------------------------------- cost


def cost(gathered: Gathered) -> str:
    """Return the section on what was done and what it cost."""
    spent = dict(gathered.spent)
    kept = {(seed, model) for _, seed, model in gathered.evaluated}
    for place, score in gathered.scores:
        if (place.seed, score.model) not in kept:  # else the attempts themselves are there
            spent.setdefault((place.arm, "eval", score.model), Spent()).score(score)
    if not spent:
        return ""
    remark = (
        "What each verb did: explorations, candidates, tasks verified or attempts, tokens, and the wall time of "
        "episodes, of writing and of programs where records were written with <code>--times</code>; work side by side "
        "is added up."
    )
    training = {key: found for key, found in spent.items() if key[1] != "eval"}
    evaluation = {key: found for key, found in spent.items() if key[1] == "eval"}
    tables = (
        _costs("Explorations, tasks and attempts to train on", training),
        _costs("Evaluation on held-out tasks", evaluation),
    )
    return section("cost", "Cost", note(remark), *tables)


def _costs(caption: str, spent: Mapping[tuple[str, str, str], Spent]) -> str:
    rows = [
        (
            text(f"{arm_name(arm)}: {command or 'unknown verb'}"),
            [cell(text(model) or NOTHING, kind="words"), *_cost(found)],
        )
        for (arm, command, model), found in sorted(spent.items())
    ]
    head = ["", "model", "done", "pass", "fail", "invalid", "judged by a check", "by a model"]
    head += ["tokens read", "tokens sampled", "replies", "customer's tokens", "minutes"]
    return table(head, rows, caption=caption) if rows else ""


def _cost(found: Spent) -> list[str]:
    judged = found.outcomes["pass"] + found.outcomes["fail"]
    outcomes = [number(found.outcomes[name]) for name in ("pass", "fail", "invalid")]
    usage = found.usage
    if not judged:  # of a score nobody knows here how many passed, of tasks nobody asks
        outcomes = [NOTHING, NOTHING, number(found.outcomes["invalid"]) if found.outcomes["invalid"] else NOTHING]
    by_judge = found.by_judge and min(found.by_judge, judged)
    values = [number(found.done), *outcomes]
    values += [number(judged - by_judge), number(by_judge)] if judged else [NOTHING, NOTHING]
    tokens = (usage.prompt_tokens, usage.completion_tokens, usage.turns)
    values += [number(value) if value else NOTHING for value in tokens]
    customer = usage.user_prompt_tokens + usage.user_completion_tokens
    values += [number(customer) if customer else NOTHING, minutes(found.seconds)]
    return [cell(value) for value in values]
