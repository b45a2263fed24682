"""The policy loss: hand cases, the same on a tree and on padded rows, and equal to TRL's own."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_model
from trl_oracle import COMPLETIONS, OWN, PROMPT, grpo_trainer, rloo_trainer

from sca_cli.training.data import Example
from sca_cli.training.packing import scores, shares
from sca_cli.training.policy import PolicyBatch, PolicyOptions, Sampled, clipped_loss, importance, k3

pytestmark = pytest.mark.torch

OPTIONS = PolicyOptions()


def sampled(tokens: list[int], own: list[int], logprob: float = -3.0) -> Sampled:
    """Return a sequence whose own tokens were all sampled with the same log-probability."""
    return Sampled(Example(tokens, own, "t", "r", "pass"), [logprob] * sum(own[1:]))


def rollouts() -> list[Sampled]:
    """Return sequences that share a prompt, and some of them own tokens; a tool writes in the middle of each."""
    draw = random.Random(0)
    prompt, other = ([draw.randrange(256) for _ in range(12)] for _ in range(2))
    own = [0] * 12 + [1, 1, 1, 0, 0, 1, 1]
    tails = [[draw.randrange(256) for _ in range(7)] for _ in range(4)]
    tails[1][:2] = tails[0][:2]
    return [
        *(sampled(prompt + tail, own, -3.0 - i / 10) for i, tail in enumerate(tails)),
        sampled(other + tails[0][:4], [*[0] * 12, 1, 1, 0, 1]),
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a tiny random model that computes trees and rows."""
    transformers = pytest.importorskip("transformers", reason="needs the train extra")
    return transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path_factory.mktemp("tiny")))


def gradient(model: Any, batch: PolicyBatch) -> tuple[float, Any]:
    """Return the loss of one update and its gradient."""
    import torch

    model.zero_grad()
    step = batch.update()
    total = 0.0
    for layout in step.layouts:
        loss = step.loss(model, layout)
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_the_loss_is_clipped_by_hand() -> None:
    """Ratios of 2 and 1/2: a gain is limited to 1.28, a loss to 0.8; what makes it worse is not limited."""
    import torch

    logprobs = torch.tensor([math.log(2.0), math.log(0.5), math.log(2.0), math.log(0.5)])
    advantages = torch.tensor([1.0, -1.0, -1.0, 1.0])
    losses = clipped_loss(logprobs, torch.zeros(4), advantages, OPTIONS)
    assert losses.tolist() == pytest.approx([-1.28, 0.8, 2.0, -0.5])


def test_k3_and_the_importance_weight_by_hand() -> None:
    """k3 of a ratio r is r - 1 - log r; the weight is the ratio of trainer and sampler, at most 2."""
    import torch

    assert k3(torch.tensor([0.0]), torch.tensor([math.log(3.0)])).item() == pytest.approx(2 - math.log(3.0))
    weights = importance(torch.tensor([0.0, 0.0]), torch.tensor([math.log(2.0), -5.0]), 2.0)
    assert weights.tolist() == pytest.approx([0.5, 2.0])


@pytest.mark.parametrize("max_tokens", [30, 10_000])
def test_a_tree_has_the_loss_and_gradient_of_padded_rows(model: Any, max_tokens: int) -> None:
    """With advantages of each token, a second update and a reference, loss and gradient are those of single rows."""
    import torch

    sequences = rollouts()
    model.set_attn_implementation("sdpa")
    assert shares(model, 40)
    draw = torch.Generator().manual_seed(0)
    total = sum(len(one.logprobs) for one in sequences)
    advantages = torch.randn(total, generator=draw)
    old, reference = (-5 + torch.rand(total, generator=draw) for _ in range(2))
    results = []
    for shared, limit in ((False, 1), (True, max_tokens)):
        model.set_attn_implementation("sca_tree" if shared else "sdpa")
        batch = PolicyBatch(sequences, limit, shared=shared, options=PolicyOptions(kl=0.1))
        batch.advantages, batch.old, batch.reference = advantages, old, reference
        results.append((*gradient(model, batch), dict(batch.sums), batch.scored(model, lambda s: s.logprobs)))
    (loss, true, sums, logprobs), (tree_loss, tree, tree_sums, tree_logprobs) = results
    assert tree_loss == pytest.approx(loss, rel=1e-5)
    assert (tree - true).norm() < 1e-4 * true.norm()
    assert tree_sums == pytest.approx(sums, rel=1e-4)
    assert (tree_logprobs - logprobs).abs().max() < 1e-4


def test_scores_are_those_of_the_whole_distribution(model: Any) -> None:
    """Log-probability, entropy and hidden state of each own token are those of a plain forward pass."""
    import torch

    model.set_attn_implementation("sdpa")
    one = rollouts()[0]
    batch = PolicyBatch([one], 100, shared=False, options=OPTIONS)
    ids = torch.tensor([one.example.input_ids])
    with torch.no_grad():
        plain = model(ids, output_hidden_states=True)
    places = [i for i, counts in enumerate(one.example.loss_mask[1:]) if counts]
    logprobs = plain.logits[0].log_softmax(-1)[places]
    for name, expected in (
        ("logprobs", logprobs.gather(-1, ids[0, [place + 1 for place in places]][:, None])[:, 0]),
        ("entropy", -(logprobs.exp() * logprobs).sum(-1)),
        ("hidden", plain.hidden_states[-1][0, places]),
    ):
        assert torch.allclose(batch.scored(model, lambda s, name=name: getattr(s, name)), expected, atol=1e-5), name
    assert scores(model, batch._layouts[0]).logprobs.requires_grad


def ours(trainer: Any, advantages: list[float], old: Any, reference: Any, *, own: list[int]) -> tuple[float, Any]:
    """Return our loss and gradient on TRL's two completions."""
    sequences = [sampled([*PROMPT, *completion], [0, 0, 0, *own]) for completion in COMPLETIONS]
    batch = PolicyBatch(sequences, 100, shared=False, options=PolicyOptions(kl=0.1 if reference is not None else 0.0))
    kept = [bool(each) for each in own] * 2
    for index, advantage in enumerate(advantages):
        batch.advantages[batch.own(index)] = advantage
    batch.old = old.flatten()[kept]
    batch.sampler = batch.old
    batch.reference = None if reference is None else reference.flatten()[kept]
    return gradient(trainer.model, batch)


def trls(trainer: Any, inputs: dict[str, Any]) -> tuple[float, Any]:
    """Return TRL's loss and gradient."""
    import torch

    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def test_grpo_has_trls_loss_and_gradient(tmp_path: Path) -> None:
    """On two completions with tool output, after a first update and with a reference, within 1e-5."""
    import torch

    rewards = [1.0, 0.0]
    trainer = grpo_trainer(tmp_path, rewards, beta=0.1)
    trainer.model.train()
    inputs = trainer._generate_and_score_completions([{"prompt": "a"}] * 2)
    draw = torch.Generator().manual_seed(0)
    inputs["old_per_token_logps"] = -5.5 + torch.rand(2, 6, generator=draw)
    inputs["ref_per_token_logps"] = -5.5 + torch.rand(2, 6, generator=draw)
    trainer.current_gradient_accumulation_steps = 1
    loss, true = trls(trainer, inputs)
    old, reference = inputs["old_per_token_logps"], inputs["ref_per_token_logps"]
    our_loss, found = ours(trainer, inputs["advantages"].tolist(), old, reference, own=OWN)
    assert our_loss == pytest.approx(loss, abs=1e-5)
    assert (found - true).abs().max() < 1e-5


def test_rloo_has_trls_loss_and_its_gradient_for_each_token(tmp_path: Path) -> None:
    """On-policy and at equal lengths the losses agree within 1e-5. TRL's divides by rollouts and not by tokens, so its
    gradient is larger by the number of tokens of a rollout.
    """
    rewards = [1.0, 0.0]
    trainer = rloo_trainer(tmp_path, rewards)
    trainer.model.train()
    inputs = trainer._generate_and_score_completions([{"prompt": "a"}] * 2)
    own = [1] * 6
    plain = PolicyBatch(
        [sampled([*PROMPT, *completion], [0, 0, 0, *own]) for completion in COMPLETIONS],
        100,
        shared=False,
        options=OPTIONS,
    )
    old = plain.scored(trainer.model, lambda s: s.logprobs)
    inputs["old_logps"] = old.view(2, 6).sum(-1)
    loss, true = trls(trainer, inputs)
    our_loss, found = ours(trainer, inputs["advantages"].tolist(), old.view(2, 6), None, own=own)
    assert our_loss == pytest.approx(loss, abs=1e-5)
    assert (6 * found - true).norm() < 1e-5 * true.norm()
