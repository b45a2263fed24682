"""Keep the best weights of online training: those with the highest reward on tasks that are not trained on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca_cli.records import JSON
from sca_cli.training.weights import merged_weights

if TYPE_CHECKING:
    import torch


class Best:
    """The rewards on the validation tasks, and the weights of the best one.

    The weights before training are measured, too, but they are never the best: they would be no trained model.

    Args:
        validate: weights by name → reward on the validation tasks; None: there are none, and the last weights are kept.
        every: rounds between two validations.
    """

    def __init__(self, validate: "Callable[[Iterator[tuple[str, torch.Tensor]]], float] | None", every: int) -> None:
        self._validate, self._every = validate, every
        self._rewards: dict[int, float] = {}
        """Rounds of training → reward after them."""
        self._round = 0
        """Rounds of training after which the weights were the best; 0: not known yet."""
        self._weights: dict[str, torch.Tensor] = {}

    def before_round(self, model: Any, number: int) -> float | None:
        """Measure the weights after `number` rounds, if it is their turn, and return the reward.

        Args:
            model: the trained model.
            number: of the round that begins, from 0.
        """
        if self._validate is None or number % self._every:
            return None
        reward = self._validate(merged_weights(model))
        self._rewards[number] = reward
        # an equal reward is of weights that learnt more
        if number and (not self._round or reward >= self._rewards[self._round]):
            self._round = number
            self._weights = {
                name: weight.detach().to("cpu", copy=True)
                for name, weight in model.named_parameters()
                if weight.requires_grad
            }
        return reward

    def after_training(self, model: Any, rounds: int) -> None:
        """Measure the last weights, and put the best ones into the model.

        Args:
            model: the trained model.
            rounds: number of rounds that were trained.
        """
        import torch

        if self._validate is None:
            return
        reward = self._validate(merged_weights(model))
        self._rewards[rounds] = reward
        if not self._round or reward >= self._rewards[self._round]:
            self._round = rounds
            return
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name in self._weights:
                    weight.copy_(self._weights[name])

    def summary(self) -> dict[str, JSON]:
        """Return the measured rounds with their rewards, and the round whose weights are kept; {}: no validation."""
        if not self._rewards:
            return {}
        rounds = sorted(self._rewards)
        return {"rounds": [*rounds], "reward": [round(self._rewards[each], 4) for each in rounds], "kept": self._round}

    def save(self, work: Path) -> dict[str, Any]:
        """Write the best weights, unless their file exists already, and return what `load` needs.

        Older files that no checkpoint needs are removed.
        """
        import torch

        path = work / f"best-{self._round}.pt"
        if self._round and not path.exists():
            fresh = path.with_suffix(".new")
            torch.save(self._weights, fresh)
            fresh.replace(path)
            # the checkpoint before this one may need the file before this one
            for older in sorted(work.glob("best-*.pt"), key=lambda each: int(each.stem.partition("-")[2]))[:-2]:
                older.unlink()
        return {"rewards": self._rewards, "round": self._round}

    def load(self, work: Path, state: dict[str, Any] | None) -> None:
        """Read what `save` returned and wrote."""
        import torch

        if state is None:
            return
        self._rewards, self._round = state["rewards"], state["round"]
        if self._round:
            self._weights = torch.load(work / f"best-{self._round}.pt", weights_only=True)
