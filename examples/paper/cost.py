"""Estimate the cost of a run before it starts: read its commands, print tokens, GPU hours and disk space of each stage.

    sh examples/paper/self-improve.sh --commands | python examples/paper/cost.py --gpus 8

Standard input holds one command a line, in the order in which they would run. Lengths of texts are measured
(`lengths.py`), counts are computed from the commands (`pricing.py`), and speed from the hardware's limits (`speed.py`).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from lengths import counter, lengths
from pricing import PASSES, SUITE_TASKS, YIELD, Pricing, Stage, added

from sca_cli.errors import ScaError

PAPER_GPUS = 8
PAPER_HOURS: dict[str, dict[str, tuple[float, float]]] = {
    "generation": {"calculation": (8, 8), "web_browsing": (8, 8), "retail": (32, 32), "airline": (32, 32)},
    "rollouts": dict.fromkeys(SUITE_TASKS, (24, 24)),
    "training": dict.fromkeys(SUITE_TASKS, (3, 3)),
    "evaluation": dict.fromkeys(SUITE_TASKS, (0.5, 2)),
}
"""Phase → environment → lowest and highest number of hours that the paper states, on 8 A100-80G.

We assume that they are for one environment and self-improvement.
"""


def rows(stages: Sequence[Stage]) -> Iterator[str]:
    """Yield a table with a line for each stage and a line for the total."""
    yield f"{'environment':<13} {'read M':>9} {'written M':>9} {'GPU hours':>9} {'disk GB':>8}  command"
    for stage in stages:
        yield f"{stage.env:<13} {_figures(stage)}  {stage.command}"
    yield f"{'total':<13} {_figures(total(stages))}"


def _figures(stage: Stage) -> str:
    millions = f"{stage.read / 1e6:>9.2f} {stage.written / 1e6:>9.2f}"
    return f"{millions} {stage.gpu_s / 3600:>9.2f} {stage.disk / 1e9:>8.2f}"


def total(stages: Sequence[Stage]) -> Stage:
    """Return the sum of some stages."""
    result = Stage("", "", "")
    for stage in stages:
        result = added(result, stage)
    return result


@dataclass(frozen=True, slots=True)
class Comparison:
    """Our cost of one phase in one environment, and the paper's."""

    env: str
    phase: str
    stage: Stage
    """Sum of the phase's stages."""
    paper: tuple[float, float] | None
    """Lowest and highest number of GPU hours of the paper, or None if it states none."""

    @property
    def ratio(self) -> float | None:
        """Our GPU hours divided by the paper's, or by the nearer end of its range; 1.0 within the range."""
        if self.paper is None:
            return None
        ours, (low, high) = self.stage.gpu_s / 3600, self.paper
        return ours / min(max(ours, low), high)


def comparisons(stages: Sequence[Stage]) -> list[Comparison]:
    """Return a comparison for each environment and phase with GPU work, in the order of the stages."""
    keys = dict.fromkeys((stage.env, stage.phase) for stage in stages)
    result = []
    for env, phase in keys:
        of_phase = [stage for stage in stages if (stage.env, stage.phase) == (env, phase)]
        stated = PAPER_HOURS.get(phase, {}).get(env.partition(":")[0]) if any(s.paper for s in of_phase) else None
        hours = (stated[0] * PAPER_GPUS, stated[1] * PAPER_GPUS) if stated else None
        result.append(Comparison(env, phase, total(of_phase), hours))
    return [one for one in result if one.stage.gpu_s]


def paper_table(all_phases: Sequence[Comparison]) -> Iterator[str]:
    """Yield a table of our GPU hours and the paper's, and an explanation of each difference above a factor of two."""
    yield f"{'environment':<13} {'phase':<11} {'GPU hours':>9} {'one by one':>10} {'the paper':>10} {'ratio':>6}"
    for one in all_phases:
        low, high = one.paper or (0, 0)
        stated = "" if one.paper is None else f"{low:g}" if low == high else f"{low:g} to {high:g}"
        ratio = "" if one.ratio is None else f"{one.ratio:.3f}"
        hours = f"{one.stage.gpu_s / 3600:>9.2f} {one.stage.alone_gpu_s / 3600:>10.1f}"
        yield f"{one.env:<13} {one.phase:<11} {hours} {stated:>10} {ratio:>6}"
    for phase in dict.fromkeys(one.phase for one in all_phases):
        same_phase = [one for one in all_phases if one.phase == phase]
        different = [one for one in same_phase if one.ratio is not None and not 0.5 <= one.ratio <= 2]
        if different:
            yield _explanation(phase, different)


_UNKNOWN = {
    "generation": "how many candidates it took, how long they were",
    "rollouts": "how many turns and tokens an attempt took",
    "training": "whether it trained all weights, for how many epochs, on how many tokens",
    "evaluation": "how many turns and tokens an attempt took",
}


def _explanation(phase: str, different: Sequence[Comparison]) -> str:
    """Return the speed that the paper's hours would mean for our tokens, and our speed."""
    counts = [one.stage.written or one.stage.read for one in different]
    stated = [tokens / (one.paper[0] * 3600) for tokens, one in zip(counts, different, strict=True) if one.paper]
    ours = [tokens / one.stage.gpu_s for tokens, one in zip(counts, different, strict=True)]
    alone = [tokens / one.stage.alone_gpu_s for tokens, one in zip(counts, different, strict=True)]
    single = "" if phase == "training" else f"; one conversation at a time makes {_range(alone)}"
    return (
        f"\n{phase}: for these tokens the paper's hours mean {_range(stated)} tokens a second and GPU, ours mean "
        f"{_range(ours)}{single}.\n  Not known of the paper: {_UNKNOWN[phase]}, and what kept its GPUs waiting."
    )


def _range(figures: Sequence[float]) -> str:
    low, high = f"{min(figures):,.0f}", f"{max(figures):,.0f}"
    return low if low == high else f"{low} to {high}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read commands from standard input and print the tables; return 2 if a command cannot be priced."""
    parser = argparse.ArgumentParser(description="Estimate the cost of the commands on standard input.")
    parser.add_argument("--gpus", type=int, default=PAPER_GPUS, help="number of A100-80G (default 8)")
    parser.add_argument("--tokenizer", default="", help="model directory or cached hub id (default: count characters)")
    options = parser.parse_args(arguments)
    count, how = counter(options.tokenizer)
    pricing = Pricing(options.gpus, cache(lambda env: lengths(env, count)))
    try:
        stages = [pricing.price(line.strip()) for line in sys.stdin if line.strip() and not line.startswith("vllm ")]
    except (ValueError, ScaError) as error:
        print(f"cost: {error}", file=sys.stderr)
        return 2
    gpu_hours = total(stages).gpu_s / 3600
    lines = [
        f"Lengths by {how}; {options.gpus} A100-80G; {YIELD:.1%} of candidates kept, {PASSES[8]:.0%} of attempts pass "
        f"({PASSES[70]:.0%} of a 70B teacher's). Nothing was started.\n",
        *rows(stages),
        f"\n{gpu_hours:.1f} GPU hours, {gpu_hours / options.gpus:.1f} h if all {options.gpus} are busy (training uses "
        "one). Not included: loading models, the jail, and sca itself, which is one process.\n",
        *paper_table(comparisons(stages)),
    ]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
