"""Weights laid out as oneDNN's kernels read them, once when a model is loaded instead of in every product.

On a processor that multiplies float32 (AVX2) a product of 8 to 64 rows, which is what a decoding step has, then takes
about half of the time.
"""

import torch  # noqa: TID253  this module is imported inside the model's constructor

_ROWS = 32
"""Rows that the layout is chosen for; products of other sizes use it as well."""


class PackedLinear(torch.nn.Module):
    """A linear layer for inference, in float32 on the CPU.

    Args:
        linear: what it computes; its own copy of the weight can be dropped afterwards.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:
        """The weight in the usual layout, (out, in): a copy, for models that look at it."""
        dense: torch.Tensor = self._packed.to_dense()
        return dense

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs @ weight.T + bias: (…, in) → (…, out)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")
        return product


def pack(model: torch.nn.Module) -> None:
    """Replace the linear layers of a model that computes in float32 on the CPU, if this torch can.

    Layers of a subclass stay as they are: what else they do is not known.
    """
    if not (hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return
    # no list of the layers themselves: it would hold every weight a second time
    for parent in [module for module in model.modules() if type(module) is not torch.nn.Linear]:
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and child.weight.dtype == torch.float32:
                setattr(parent, name, PackedLinear(child))
