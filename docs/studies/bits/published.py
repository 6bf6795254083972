"""Write the embedded model as if its weights had been read from a published file of few bits.

    python docs/studies/bits/published.py OUT [TYPE]

All matrices inside the blocks are rounded to TYPE, Q4_1 (default, as SmolLM2's file) or Q5_0 (as most of Gemma's), the
embedding to Q8_0. The weights are those that `mlprune import` would read, in float32. Needs the package gguf.
"""

import json
import sys
from pathlib import Path
from shutil import copytree

from gguf import GGMLQuantizationType, quants
from safetensors.numpy import load_file, save_file

import mlprune.demo

MODEL = Path(mlprune.demo.__file__).parent / "xglm-cldr-2m"
EMBEDDING = "model.embed_tokens.weight"


def main(out: str, kind: str = "Q4_1") -> None:
    """Write the folder, which must not exist."""
    folder = Path(out)
    copytree(MODEL, folder)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        values = weight.astype("float32")
        if weight.ndim == 2:
            of_name = GGMLQuantizationType["Q8_0" if name == EMBEDDING else kind]
            values = quants.dequantize(quants.quantize(values, of_name), of_name)
        weights[name] = values
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32"}, indent=2), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
