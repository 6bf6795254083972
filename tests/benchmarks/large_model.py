"""Write random XGLM models of any size piece by piece, in little memory."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

DEMO = Path(__file__).parents[2] / "mlprune" / "demo" / "xglm-cldr-2m"
PIECE = 2**22
"""Number of weights generated at a time."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model."""

    blocks: int
    hidden: int
    inner: int
    heads: int
    vocabulary: int
    positions: int = 2048

    @property
    def n_prunable(self) -> int:
        """Number of weights in the linear layers of all blocks."""
        return self.blocks * (4 * self.hidden**2 + 2 * self.hidden * self.inner)


SHAPES = {
    "small": Shape(blocks=4, hidden=256, inner=1024, heads=4, vocabulary=8_000),
    "mid": Shape(blocks=3, hidden=4096, inner=16384, heads=32, vocabulary=32_000),
    "7.5B": Shape(blocks=32, hidden=4096, inner=16384, heads=32, vocabulary=256_008),
}


def make_model(folder: Path, shape: Shape) -> int:
    """Write config, tokenizer and bfloat16 weights, one file per block; do nothing if the model is complete.

    Returns: total size of the weight files in bytes.
    """
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_config(folder, shape)
        where: dict[str, str] = {}
        for number, tensors in enumerate(model_files(shape)):
            name = f"model-{number:05d}.safetensors"
            _write_file(folder / name, tensors, seed=number)
            where |= dict.fromkeys(tensors, name)
        index.write_text(json.dumps({"metadata": {}, "weight_map": where}), encoding="utf-8")
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def write_config(folder: Path, shape: Shape) -> None:
    """Write the config and the tokenizer of the demo model; its tokens are the first ones of the vocabulary.

    Tokens that no text contains fill the rest of the vocabulary.
    """
    shutil.copy(DEMO / "tokenizer_config.json", folder / "tokenizer_config.json")
    tokenizer = json.loads((DEMO / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"<unused {number}>": number for number in range(len(vocabulary), shape.vocabulary)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))
    config |= {
        "num_layers": shape.blocks,
        "d_model": shape.hidden,
        "ffn_dim": shape.inner,
        "attention_heads": shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.positions,
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def model_files(shape: Shape) -> Iterator[dict[str, tuple[int, ...]]]:
    """Tensor names and shapes of each file: first the blocks, then the other tensors."""
    d, inner = shape.hidden, shape.inner
    for block in range(shape.blocks):
        before = f"model.layers.{block}."
        linear = {f"self_attn.{name}_proj": (d, d) for name in ("q", "k", "v", "out")}
        linear |= {"fc1": (inner, d), "fc2": (d, inner)}
        weights = {f"{before}{name}.weight": size for name, size in linear.items()}
        biases = {f"{before}{name}.bias": size[:1] for name, size in linear.items()}
        yield {
            **weights,
            **biases,
            **_norm(f"{before}self_attn_layer_norm", d),
            **_norm(f"{before}final_layer_norm", d),
        }
    yield {"model.embed_tokens.weight": (shape.vocabulary, d), **_norm("model.layer_norm", d)}


def _norm(name: str, d: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (d,), f"{name}.bias": (d,)}


def _write_file(file: Path, tensors: dict[str, tuple[int, ...]], *, seed: int) -> None:
    """Write a safetensors file of random bfloat16 weights; norms are 1 and biases 0."""
    header, end = {}, 0
    for name, size in tensors.items():
        begin, end = end, end + 2 * prod(size)
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(seed)
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name, size in tensors.items():
            for start in range(0, prod(size), PIECE):
                n = min(PIECE, prod(size) - start)
                stream.write(_values(name, n, generator).view(torch.uint8).numpy().tobytes())


def _values(name: str, n: int, generator: torch.Generator) -> torch.Tensor:
    if name.endswith("bias"):
        return torch.zeros(n, dtype=torch.bfloat16)
    if "layer_norm" in name:
        return torch.ones(n, dtype=torch.bfloat16)
    return torch.empty(n).normal_(0, 0.02, generator=generator).to(torch.bfloat16)
