"""Tiny random models of every family, built offline: a folder with config, tokenizer and safetensors weights."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    XGLMConfig,
    XGLMForCausalLM,
)

PAD, END, UNKNOWN = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
VOCABULARY = 260
HIDDEN = 16
HEADS = 2
POSITIONS = 64
FAMILY_NAMES = ("xglm", "gpt2", "bloom")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges: one token a byte, behind three special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def tiny_model(family: str, *, seed: int, blocks: int, hidden: int = HIDDEN, positions: int = POSITIONS) -> Any:
    """A random model, biases and norms included, whose activations are large enough to tell tokens apart."""
    special = {"pad_token_id": PAD, "bos_token_id": END, "eos_token_id": END}
    if family == "xglm":
        config: Any = XGLMConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=positions,
            d_model=hidden,
            ffn_dim=4 * hidden,
            num_layers=blocks,
            attention_heads=HEADS,
            decoder_start_token_id=END,
            **special,
        )
        model: Any = XGLMForCausalLM(config)
    elif family == "gpt2":
        config = GPT2Config(
            vocab_size=VOCABULARY, n_positions=positions, n_embd=hidden, n_layer=blocks, n_head=HEADS, **special
        )
        model = GPT2LMHeadModel(config)
    elif family == "bloom":
        config = BloomConfig(vocab_size=VOCABULARY, hidden_size=hidden, n_layer=blocks, n_head=HEADS, **special)
        model = BloomForCausalLM(config)
    else:
        raise ValueError(f"no tiny model of family {family}")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            around = 1.0 if name.endswith("weight") and ("norm" in name or "ln_" in name) else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + around)
    return model.eval()


def save_tiny_model(
    folder: Path,
    family: str = "xglm",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    blocks: int = 3,
    hidden: int = HIDDEN,
    positions: int = POSITIONS,
) -> Path:
    """Write a tiny random model to a folder, as a user's model folder is, and return the folder."""
    tiny_model(family, seed=seed, blocks=blocks, hidden=hidden, positions=positions).to(dtype).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
