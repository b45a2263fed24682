"""A prefix tree is the same mathematics as its branches one by one: tokens, losses, gradients."""

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tiny_model import save_model

from sca_cli.training.data import Example
from sca_cli.training.packing import layouts, shares, surprise

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.torch


def example(tokens: list[int], given: int) -> Example:
    """Return an example whose first tokens are given and whose others are to be learnt."""
    return Example(tokens, [0] * given + [1] * (len(tokens) - given), "t", "r", "pass")


def batch() -> list[Example]:
    """Return examples that share prefixes at two depths, tokens to be learnt among them."""
    draw = random.Random(1)
    tokens = [draw.randrange(256) for _ in range(40)]
    other = [draw.randrange(256) for _ in range(40)]
    return [
        example(tokens[:30], 20),
        example(tokens[:22] + other[:5], 20),  # shares two learnt tokens with the first
        example(tokens[:10] + other[:9], 12),
        example(other[:17], 3),
        example(tokens[:25], 20),  # a beginning of the first
    ]


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Return a function that loads a tiny model of an architecture in float32."""
    transformers = pytest.importorskip("transformers", reason="needs the train extra")

    def load(kind: str) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(save_model(tmp_path / kind, kind))

    return load


def gradient(model: Any, examples: list[Example], max_tokens: int, *, shared: bool) -> "tuple[float, torch.Tensor]":
    """Return the summed loss of all tokens to be learnt and the gradient of all weights."""
    import torch

    model.zero_grad()
    total = 0.0
    for layout in layouts(examples, max_tokens, shared=shared):
        loss = (surprise(model, layout) * layout.weights).sum()
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", ["qwen2", "llama", "qwen3"])
@pytest.mark.parametrize("max_tokens", [1, 40, 10_000])
def test_a_tree_has_the_loss_and_the_gradient_of_transformers_own_loss(load: Any, kind: str, max_tokens: int) -> None:
    """However a batch is laid out, loss and gradient are those of one example at a time with `labels`."""
    import torch

    model = load(kind)
    expected = 0.0
    for one in batch():
        ids = torch.tensor([one.input_ids])
        labels = torch.tensor([[t if counts else -100 for t, counts in zip(one.input_ids, one.loss_mask, strict=True)]])
        loss = model(input_ids=ids, labels=labels).loss * sum(one.loss_mask)
        loss.backward()
        expected += loss.item()
    true = torch.cat([p.grad.flatten() for p in model.parameters()])
    for shared in (False, True):
        assert not shared or shares(model, 40)
        loss, found = gradient(model, batch(), max_tokens, shared=shared)
        assert loss == pytest.approx(expected, rel=1e-4)
        assert torch.nn.functional.cosine_similarity(found, true, dim=0) > 0.9999
        assert (found - true).norm() < 1e-3 * true.norm()


def test_a_tree_holds_every_token_once() -> None:
    """Shared prefixes are laid out once; rows hold them as often as they occur, and padding."""
    (tree,) = layouts(batch(), 10_000, shared=True)
    (rows,) = layouts(batch(), 10_000, shared=False)
    assert tree.tokens == 30 + 5 + 9 + 17
    assert rows.tokens == 5 * 30
    assert float(tree.weights.sum()) == float(rows.weights.sum()) == sum(sum(e.loss_mask) for e in batch())


def test_no_layout_is_larger_than_allowed() -> None:
    """A batch is split where it does not fit, and no example is lost."""
    for shared in (True, False):
        made = list(layouts(batch(), 60, shared=shared))
        assert len(made) > 1
        assert all(layout.tokens <= 60 for layout in made)
        assert sum(float(layout.weights.sum()) for layout in made) == sum(sum(e.loss_mask) for e in batch())


def test_a_sliding_window_is_not_fed_a_tree(load: Any) -> None:
    """A model with a window shorter than the examples is given rows."""
    model = load("mistral")
    assert not shares(model, 40)


def test_a_model_that_mixes_positions_by_itself_is_not_fed_a_tree() -> None:
    """A state space model fails the trial and continues with rows."""
    transformers = pytest.importorskip("transformers", reason="needs the train extra")
    config = transformers.MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=2, state_size=4)
    model = transformers.MambaForCausalLM(config)
    assert not shares(model, 40)
