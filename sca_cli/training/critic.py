"""The critic of PPO: a linear value head on the hidden states from which own tokens are predicted.

The critic changes no weights of the policy. So the head is trained on stored hidden states, without a forward pass
of its own.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

RATE = 1e-4
"""Learning rate of the head; chosen by hand."""

STEPS = 50
"""Steps of the head for each round; chosen by hand."""


def value_loss(values: "torch.Tensor", returns: "torch.Tensor") -> "torch.Tensor":
    """Return half the mean squared error of the values (arXiv 1707.06347, equation 9, without its coefficient)."""
    return 0.5 * (values - returns).square().mean()


class Critic:
    """Values of states, learnt from returns.

    Args:
        width: width of the hidden states.
    """

    def __init__(self, width: int) -> None:
        import torch

        self._head = torch.nn.Linear(width, 1)
        torch.nn.init.zeros_(self._head.weight)
        torch.nn.init.zeros_(self._head.bias)
        self._optimiser = torch.optim.Adam(self._head.parameters(), lr=RATE)

    def values(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Return the value of each state: (t, width) → (t,).

        Hidden states are normalised first, because their scale differs between models and the learning rate does not.
        """
        import torch

        normalised = torch.nn.functional.layer_norm(hidden, hidden.shape[-1:])
        values: torch.Tensor = self._head(normalised)[:, 0]
        return values

    def fit(self, hidden: "torch.Tensor", returns: "torch.Tensor") -> float:
        """Fit the values to returns (t,); return the value loss before the fit."""
        losses = []
        for _ in range(STEPS):
            loss = value_loss(self.values(hidden), returns)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            losses.append(float(loss.detach()))
        return losses[0]

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {"head": self._head.state_dict(), "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
