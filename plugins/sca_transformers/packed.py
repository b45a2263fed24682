"""Convert weights once, when a model is loaded, to the memory layout that oneDNN's kernels use.

Otherwise every matrix product converts them again. On a processor that multiplies in float32 (AVX2), a product of 8 to
64 rows takes about half the time with converted weights. A decoding step has that many rows.
"""

from collections.abc import Iterable

import torch  # noqa: TID253  this module is imported inside the model's constructor

_ROWS = 32
"""Number of rows that oneDNN optimises the layout for; products with other row counts use the same layout."""


class PackedLinear(torch.nn.Module):
    """Replacement for a linear layer, for inference in float32 on the CPU.

    Args:
        linear: the layer to replace; its own copy of the weight can be freed afterwards.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.replace(linear.weight.detach())
        self.bias = linear.bias

    def replace(self, weight: torch.Tensor) -> None:
        """Take another weight: (out, in), float32."""
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)

    @property
    def weight(self) -> torch.Tensor:
        """A copy of the weight in the usual layout, (out, in), for models that read it."""
        dense: torch.Tensor = self._packed.to_dense()
        return dense

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs @ weight.T + bias: (…, in) → (…, out)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")
        return product


def pack(model: torch.nn.Module) -> None:
    """Replace the float32 linear layers of a model on the CPU, if this version of torch has the operators.

    Subclasses of `Linear` are not replaced, because they may do more than a matrix product.
    """
    if not (hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return
    # List the parents, not the layers: a list of layers would keep every replaced weight in memory.
    for parent in [module for module in model.modules() if type(module) is not torch.nn.Linear]:
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and child.weight.dtype == torch.float32:
                setattr(parent, name, PackedLinear(child))


def replace_weights(model: torch.nn.Module, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Replace weights of a model in place; those of packed layers too.

    Args:
        model: the model, packed or not.
        weights: (name in the state of the model before packing, value of the same shape).
    """
    for name, value in weights:
        parent, _, attribute = name.rpartition(".")
        module = model.get_submodule(parent)
        if isinstance(module, PackedLinear) and attribute == "weight":
            module.replace(value.float())
        else:
            getattr(module, attribute).data.copy_(value)
