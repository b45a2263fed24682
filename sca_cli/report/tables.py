"""The sections that are tables of counts: funnel, coverage, agreement, cost."""

from collections.abc import Iterator, Mapping, Sequence

from sca_cli.report.counts import AgreementCounts, Cost, ToolCoverage
from sca_cli.report.gather import STAGES, Gathered
from sca_cli.report.markup import NOTHING, cell, minutes, note, number, section, share, table, text
from sca_cli.verification import paper_filter

_PAPER = 1 + len(paper_filter.PAPER_STAGES)
"""Number of stages that every funnel has: `parsed` and the stages of the paper's filter."""

_MOST_TOOLS = 40
"""Most tools in a matrix; with more, only the most used are shown. Chosen by hand."""


def arm_name(arm: str) -> str:
    """Return the displayed name of an arm."""
    return arm or "main"


# ---------------------------------------------------------------- funnel


def funnel(gathered: Gathered) -> str:
    """Return the section on candidates: how many passed each stage."""
    columns = [(arm, env, method) for arm, env in gathered.funnels for method in gathered.funnels[arm, env].methods()]
    unverified = gathered.without_verdict()
    columns = sorted({*columns, *unverified})
    if not columns:
        return ""
    head = ["", *(_heading(gathered, column) for column in columns)]
    rows = [
        ("candidates", [cell(number(_total(gathered, column))) for column in columns]),
        *_stages(gathered, columns),
        ("shapes", [cell(_shapes(gathered, column)) for column in columns]),
    ]
    missing = ""
    if unverified:
        rows.append(("no verdict", [cell(number(unverified[column])) for column in columns]))
        missing = (
            " <em>No verdict</em>: candidates without a verdict in any file; no share counts them. Record the rejected "
            "ones with <code>sca verify --rejected</code>, or wait until the run is complete."
        )
    remark = (
        "Candidates that passed a stage and all stages before it. <em>Shapes</em>: different programs of the kept "
        "tasks, if literals and names are ignored." + missing
    )
    return section("funnel", "Funnel", note(remark), table(head, rows))


def _heading(gathered: Gathered, column: tuple[str, str, str]) -> str:
    arm, env, method = column
    several = len({each for each, _ in [*gathered.funnels, *((a, e) for a, e, _ in gathered.without_verdict())]}) > 1
    return "<br>".join(text(part) for part in ([arm_name(arm)] if several else []) + [env, method])


def _total(gathered: Gathered, column: tuple[str, str, str]) -> int:
    env_funnel = gathered.funnels.get(column[:2])
    return env_funnel.total(column[2]) if env_funnel and column[2] in env_funnel.methods() else 0


def _shapes(gathered: Gathered, column: tuple[str, str, str]) -> str:
    env_funnel = gathered.funnels.get(column[:2])
    return number(env_funnel.shapes(column[2])) if env_funnel else NOTHING


def _stages(gathered: Gathered, columns: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, list[str]]]:
    tried = bool(gathered.agreements)
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
        for column, stages in zip(columns, passed, strict=True):
            if stage not in stages or (stage in STAGES[_PAPER:] and column not in gathered.beyond_paper):
                cells.append(cell(NOTHING))
                continue
            _, left, part, reported = stages[stage]
            content = f'{number(left)} <span class="ci">{share(part)}</span>'
            content += f'<br><span class="ci">{number(reported)} reported</span>' if reported else ""
            cells.append(cell(content, of=part, kind="bar"))
        yield text(stage), cells


# ---------------------------------------------------------------- coverage


def coverage(gathered: Gathered) -> str:
    """Return the section on tools: counts of explorations, and the tools that verified tasks use."""
    parts = [_matrix(gathered, key, use) for key, use in sorted(gathered.coverage.items())]
    return section("coverage", "Coverage of tools", _explorations(gathered), *parts)


def _explorations(gathered: Gathered) -> str:
    rows = [
        (
            text(f"{env} ({arm_name(arm)})" if arm else env),
            [cell(number(value)) for value in (counts.count, counts.calls, counts.refusals, len(counts.tools))],
        )
        for (arm, env), counts in sorted(gathered.explorations.items())
    ]
    head = ["", "explorations", "tool calls", "tool errors", "tools called"]
    return table(head, rows, caption="Explorations") if rows else ""


def _matrix(gathered: Gathered, key: tuple[str, str], use: ToolCoverage) -> str:
    arm, env = key
    explored = gathered.explorations[key].tools if key in gathered.explorations else set()
    every = sorted(explored | set(use.tools), key=lambda tool: (-use.tools[tool], tool))
    tools = every[:_MOST_TOOLS]
    most = max(use.pairs.values(), default=1)
    rows = [
        (
            f"{place} {text(tool)}",
            [cell(number(use.tools[tool]) if use.tools[tool] else "", kind="" if use.tools[tool] else "empty")]
            + [_pair(use.pairs[tool, after], most) for after in tools],
        )
        for place, tool in enumerate(tools, 1)
    ]
    possible = len(every) ** 2
    remark = (
        f"{number(use.tasks)} verified tasks use {number(len(use.tools))} of the {number(len(every))} tools that were "
        f"called, and {number(len(use.pairs))} of {number(possible)} ordered pairs. A row is a tool; a column is the "
        "tool that was called next. <em>Tasks</em> counts the tasks that use the tool."
    )
    if len(every) > len(tools):
        remark += f" The table leaves out the {number(len(every) - len(tools))} least used tools."
    head = ["", "tasks", *(str(place) for place in range(1, len(tools) + 1))]
    title = f"<h3>{text(env)}{text(f' ({arm})') if arm else ''}</h3>"
    return f"{title}\n{note(remark)}\n{table(head, rows, kind='matrix')}\n{_calls(use)}"


def _pair(count: int, most: int) -> str:
    return cell(number(count), of=count / most, kind="heat") if count else cell("", kind="empty")


def _calls(use: ToolCoverage) -> str:
    most = max(use.calls.values())
    rows = [
        (str(calls), [cell(number(tasks), of=tasks / most, kind="bar")]) for calls, tasks in sorted(use.calls.items())
    ]
    return table(["calls of the solution", "tasks"], rows)


# ---------------------------------------------------------------- agreement


def agreement(gathered: Gathered) -> str:
    """Return the section on attempts at the instructions of tasks (`verify --agree`)."""
    rows = []
    for (arm, only_kept), counts in sorted(gathered.agreements.items()):
        rows.append((text(f"{arm_name(arm)}, {'kept' if only_kept else 'all attempted'}"), _agreement_cells(counts)))
    if not rows:
        return ""
    remark = (
        "<em>Mislabelled</em>: most attempts at the instruction have the same outcome, and the check rejects it. "
        "<em>Unsolved</em>: no attempt passes. If <code>sca verify</code> rejected the mislabelled tasks, this table "
        "shows none among the kept ones; use attempts by another model, or read tasks, to measure their quality."
    )
    head = ["", "tasks", "mislabelled", "unsolved", "attempts the check passes"]
    return section("agreement", "Agreement of instruction and check", note(remark), table(head, rows))


def _agreement_cells(counts: AgreementCounts) -> list[str]:
    parts = [(counts.mislabelled, counts.tried), (counts.unsolved, counts.tried), (counts.passed, counts.attempts)]
    shares = [
        f'{number(part)} <span class="ci">{share(part / total)}</span>' if total else NOTHING for part, total in parts
    ]
    return [cell(number(counts.tried)), *map(cell, shares)]


# ---------------------------------------------------------------- cost


def cost(gathered: Gathered) -> str:
    """Return the section on the work of each verb and its cost."""
    costs = dict(gathered.costs)
    with_attempts = {(seed, model) for _, seed, model in gathered.evaluated}
    for place, score in gathered.scores:
        if (place.seed, score.model) not in with_attempts:  # else the recorded attempts are counted
            costs.setdefault((place.arm, "eval", score.model), Cost()).score(score)
    if not costs:
        return ""
    remark = (
        "The work of each verb: explorations, candidates, verified tasks or attempts; tokens; and the wall time of "
        "episodes, of writing tasks and of running programs, if records were written with <code>--times</code>. Times "
        "of parallel work are added."
    )
    training = {key: each for key, each in costs.items() if key[1] != "eval"}
    evaluation = {key: each for key, each in costs.items() if key[1] == "eval"}
    tables = (
        _costs("Explorations, tasks and attempts for training", training),
        _costs("Evaluation on held-out tasks", evaluation),
    )
    return section("cost", "Cost", note(remark), *tables)


def _costs(caption: str, costs: Mapping[tuple[str, str, str], Cost]) -> str:
    rows = [
        (
            text(f"{arm_name(arm)}: {command or 'unknown verb'}"),
            [cell(text(model) or NOTHING, kind="words"), *_cost_cells(each)],
        )
        for (arm, command, model), each in sorted(costs.items())
    ]
    head = ["", "model", "done", "pass", "fail", "invalid", "judged by a check", "by a model"]
    head += ["prompt tokens", "sampled tokens", "replies", "customer's tokens", "minutes"]
    return table(head, rows, caption=caption) if rows else ""


def _cost_cells(cost_of_verb: Cost) -> list[str]:
    counts = cost_of_verb.outcomes
    judged = counts["pass"] + counts["fail"]
    outcomes = [number(counts[name]) for name in ("pass", "fail", "invalid")]
    usage = cost_of_verb.usage
    if not judged:  # a score does not record how many attempts passed, and explorations and tasks have no outcome
        outcomes = [NOTHING, NOTHING, number(counts["invalid"]) if counts["invalid"] else NOTHING]
    by_judge = cost_of_verb.by_judge and min(cost_of_verb.by_judge, judged)
    values = [number(cost_of_verb.done), *outcomes]
    values += [number(judged - by_judge), number(by_judge)] if judged else [NOTHING, NOTHING]
    tokens = (usage.prompt_tokens, usage.completion_tokens, usage.turns)
    values += [number(value) if value else NOTHING for value in tokens]
    customer = usage.user_prompt_tokens + usage.user_completion_tokens
    values += [number(customer) if customer else NOTHING, minutes(cost_of_verb.seconds)]
    return [cell(value) for value in values]
