"""What a run costs, before it is started: read its commands, print tokens, GPU hours and disk of every stage.

    sh examples/paper/self-improve.sh --commands | python examples/paper/cost.py --gpus 8

Standard input holds one command a line, in the order in which they would run. Lengths are measured (`lengths.py`),
counts follow from the commands (`pricing.py`), speed from what the hardware can do (`speed.py`).
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
"""As stated, on 8 A100-80G: lowest and highest. We take them to be for one environment and self-improvement."""


def rows(stages: Sequence[Stage]) -> Iterator[str]:
    """Yield the table of the stages, a line each, and their total."""
    yield f"{'environment':<13} {'read M':>9} {'written M':>9} {'GPU hours':>9} {'disk GB':>8}  command"
    for stage in stages:
        yield f"{stage.env:<13} {_figures(stage)}  {stage.command}"
    yield f"{'total':<13} {_figures(total(stages))}"


def _figures(stage: Stage) -> str:
    millions = f"{stage.read / 1e6:>9.2f} {stage.written / 1e6:>9.2f}"
    return f"{millions} {stage.gpu_s / 3600:>9.2f} {stage.disk / 1e9:>8.2f}"


def total(stages: Sequence[Stage]) -> Stage:
    """Return the sum of some rows."""
    whole = Stage("", "", "")
    for stage in stages:
        whole = added(whole, stage)
    return whole


@dataclass(frozen=True, slots=True)
class Comparison:
    """One phase in one environment beside what the paper states, all in GPU hours."""

    env: str
    phase: str
    stage: Stage
    """The phase's stages added up."""
    paper: tuple[float, float] | None

    @property
    def ratio(self) -> float | None:
        """Ours over the paper's, or over the nearer end of its range; 1.0 within the range."""
        if self.paper is None:
            return None
        ours, (low, high) = self.stage.gpu_s / 3600, self.paper
        return ours / min(max(ours, low), high)


def comparisons(stages: Sequence[Stage]) -> list[Comparison]:
    """Return phases by environment, in the order in which they come; those without GPU work are left out."""
    keys = dict.fromkeys((stage.env, stage.phase) for stage in stages)
    found = []
    for env, phase in keys:
        of_it = [stage for stage in stages if (stage.env, stage.phase) == (env, phase)]
        stated = PAPER_HOURS.get(phase, {}).get(env.partition(":")[0]) if any(s.paper for s in of_it) else None
        hours = (stated[0] * PAPER_GPUS, stated[1] * PAPER_GPUS) if stated else None
        found.append(Comparison(env, phase, total(of_it), hours))
    return [one for one in found if one.stage.gpu_s]


def beside_the_paper(found: Sequence[Comparison]) -> Iterator[str]:
    """Yield the table of GPU hours beside the paper's, and why they differ where they do by more than twice."""
    yield f"{'environment':<13} {'phase':<11} {'GPU hours':>9} {'one by one':>10} {'the paper':>10} {'ratio':>6}"
    for one in found:
        low, high = one.paper or (0, 0)
        stated = "" if one.paper is None else f"{low:g}" if low == high else f"{low:g} to {high:g}"
        ratio = "" if one.ratio is None else f"{one.ratio:.3f}"
        hours = f"{one.stage.gpu_s / 3600:>9.2f} {one.stage.alone_gpu_s / 3600:>10.1f}"
        yield f"{one.env:<13} {one.phase:<11} {hours} {stated:>10} {ratio:>6}"
    for phase in dict.fromkeys(one.phase for one in found):
        apart = [one for one in found if one.phase == phase and one.ratio is not None and not 0.5 <= one.ratio <= 2]
        if apart:
            yield _why(phase, apart)


_UNKNOWN = {
    "generation": "how many candidates it took, how long they were",
    "rollouts": "how many turns and tokens an attempt took",
    "training": "whether it trained all weights, for how many epochs, on how many tokens",
    "evaluation": "how many turns and tokens an attempt took",
}


def _why(phase: str, apart: Sequence[Comparison]) -> str:
    """Return what the paper's hours would mean for our tokens, where both are more than twice apart."""
    done = [one.stage.written or one.stage.read for one in apart]
    stated = [tokens / (one.paper[0] * 3600) for tokens, one in zip(done, apart, strict=True) if one.paper]
    ours = [tokens / one.stage.gpu_s for tokens, one in zip(done, apart, strict=True)]
    alone = [tokens / one.stage.alone_gpu_s for tokens, one in zip(done, apart, strict=True)]
    single = "" if phase == "training" else f"; one conversation at a time makes {_range(alone)}"
    return (
        f"\n{phase}: for these tokens the paper's hours mean {_range(stated)} tokens a second and GPU, ours mean "
        f"{_range(ours)}{single}.\n  Not known of the paper: {_UNKNOWN[phase]}, and what kept its GPUs waiting."
    )


def _range(figures: Sequence[float]) -> str:
    low, high = f"{min(figures):,.0f}", f"{max(figures):,.0f}"
    return low if low == high else f"{low} to {high}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read commands, print the tables; return 2 where a command cannot be priced."""
    parser = argparse.ArgumentParser(description="What the commands on standard input would cost.")
    parser.add_argument("--gpus", type=int, default=PAPER_GPUS, help="A100-80G that serve the models (default 8)")
    parser.add_argument("--tokenizer", default="", help="model directory or cached hub name; default: characters")
    options = parser.parse_args(arguments)
    count, how = counter(options.tokenizer)
    pricing = Pricing(options.gpus, cache(lambda env: lengths(env, count)))
    try:
        stages = [pricing.price(line.strip()) for line in sys.stdin if line.strip() and not line.startswith("vllm ")]
    except (ValueError, ScaError) as error:
        print(f"cost: {error}", file=sys.stderr)
        return 2
    whole = total(stages).gpu_s / 3600
    lines = [
        f"Lengths by {how}; {options.gpus} A100-80G; {YIELD:.1%} of candidates kept, {PASSES[8]:.0%} of attempts pass "
        f"({PASSES[70]:.0%} of a 70B teacher's). Nothing was started.\n",
        *rows(stages),
        f"\n{whole:.1f} GPU hours, {whole / options.gpus:.1f} h if all {options.gpus} are busy (training uses one): "
        "loading, the jail and sca itself, one process, come on top.\n",
        *beside_the_paper(comparisons(stages)),
    ]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
