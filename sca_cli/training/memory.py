"""Estimate the memory of a forward pass, and recompute activations if they need more memory than is free."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from sca_cli.training.packing import Layout


def kept_bytes(model: Any, layout: "Layout", dtype: "torch.dtype") -> int:
    """Return an upper estimate of the bytes that one forward pass stores for its gradient."""
    config = model.config.get_text_config()
    wide = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    # measured on Qwen2.5-0.5B (LoRA, float32): 25,300 elements a token and layer; this formula gives 29,300
    elements = layout.input_ids.numel() * (9 * config.hidden_size + 4.4 * wide)
    # each branch of a tree copies the keys and values of its complete path, for every head
    elements += sum(len(path) for path, _ in layout.branches) * 2 * config.hidden_size
    # logits, their log-probabilities in float32, and the gradients of both
    logits = layout.input_ids.shape[0] * len(layout.columns) * config.vocab_size * 2 * (dtype.itemsize + 4)
    return int(elements * config.num_hidden_layers * dtype.itemsize + logits)


def free_bytes(model: Any) -> int:
    """Return the free memory in bytes, minus the part that gradients and the optimiser will need."""
    import psutil  # type: ignore[import-untyped,unused-ignore]
    import torch

    on_cpu = model.device.type == "cpu"
    free = psutil.virtual_memory().available if on_cpu else torch.cuda.mem_get_info(model.device)[0]
    return int(free - 3 * sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad))


def set_recomputing(model: Any, wanted: bool) -> None:
    """Switch gradient checkpointing on or off: layers store only their inputs and recompute the rest, or store all."""
    if not wanted:
        model.gradient_checkpointing_disable()
    elif model.supports_gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.disable_input_require_grads()  # only re-entrant checkpointing needs it
