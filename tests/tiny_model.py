"""Tiny random models with a byte tokenizer, so that real engines run in tests without weights."""

from pathlib import Path
from typing import Any

TEMPLATE = """\
{%- if tools %}<|im_start|>system
{%- for tool in tools %}
{{ tool | tojson }}{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def save_tokenizer(directory: Path) -> int:
    """Save a tokenizer with one token a byte, three special tokens and a ChatML template; return its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={char: n for n, char in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=TEMPLATE,
    )
    tokenizer.save_pretrained(directory)
    return len(tokenizer)


def save_model(directory: Path, kind: str = "qwen2", *, window: int = 4096, head_width: int = 8) -> Path:
    """Save a random model of an architecture, with its tokenizer, and return the directory.

    Args:
        directory: made if it is not there.
        kind: qwen2, qwen3, llama, or mistral (with a sliding window of 24 tokens).
        window: tokens it can hold.
        head_width: of an attention head; some engines take certain widths only.
    """
    import torch
    import transformers

    classes: dict[str, tuple[Any, Any]] = {
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
    }
    config_class, model_class = classes[kind]
    config = config_class(
        vocab_size=save_tokenizer(directory),
        hidden_size=6 * head_width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=window,
        initializer_range=0.3,  # wide, so that replies vary
        tie_word_embeddings=kind == "qwen2",
        eos_token_id=256,
        bos_token_id=None,
        pad_token_id=256,
        **({"head_dim": head_width} if kind != "qwen2" else {}),
        **({"sliding_window": 24} if kind == "mistral" else {}),
    )
    torch.manual_seed(0)
    model_class(config).save_pretrained(directory)
    return directory
