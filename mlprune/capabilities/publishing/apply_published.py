"""Apply a published variant to its base model; needs torch and safetensors only.

    python apply_published.py BASE OUT  # the folder of the base model, and the folder to make

In Python, `load(BASE)` returns the tensors. The SHA-256 of each is compared with `published.json`, before and after.
A mask has one bit per weight, row-major, eight per byte, the lowest bit first; 1 means that the weight stays.
"""

import json
import mmap
import shutil
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file

HERE, INDEX = Path(__file__).parent, "model.safetensors.index.json"
TYPES = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint", "BOOL": "bool"}


def load(base: Path | str, published: Path | str = HERE) -> dict[str, torch.Tensor]:
    """Return the tensors of the pruned model, by their names in the files of the base model."""
    return {name: tensor for _, _, tensors in files(Path(base), Path(published)) for name, tensor in tensors.items()}


def write(base: Path, out: Path, published: Path = HERE) -> None:
    """Write the pruned model to a new folder. The changed tensors of one file are in memory at a time."""
    out.mkdir(parents=True)
    try:
        for name, data, _ in files(base, published):
            (out / name).write_bytes(data)
        for file in base.iterdir():
            if file.suffix in (".json", ".jinja", ".txt", ".model") or file.name.startswith("LICENSE"):
                shutil.copyfile(file, out / file.name)
        (out / "tensor_hashes.json").unlink(missing_ok=True)  # those of a base model that is an export itself
        shutil.copyfile(published / "README.md", out / "README.md")
    except BaseException:
        shutil.rmtree(out)
        raise


def files(base: Path, published: Path) -> Iterator[tuple[str, mmap.mmap, dict[str, torch.Tensor]]]:
    """Yield the name, the bytes and the tensors of each weight file; files are mapped, and their changes private."""
    left = json.loads((published / "published.json").read_text("utf-8"))["tensors"]
    parts = [published / name for name in ("masks.safetensors", "changed.safetensors")]
    masks, values = (load_file(part) if part.exists() else {} for part in parts)
    index = json.loads((base / INDEX).read_text("utf-8"))["weight_map"] if (base / INDEX).exists() else {}
    for file in sorted(set(index.values())) or ["model.safetensors"]:
        with (base / Path(file).name).open("rb") as stream:
            data, tensors = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY), {}
        start = 8 + int.from_bytes(data[:8], "little")
        for name, stored in json.loads(data[8:start]).items():
            if name == "__metadata__" or index.get(name, file) != file:
                continue
            (begin, end), expected = stored.pop("data_offsets"), left.pop(name, {})
            content = memoryview(data)[start + begin : start + end]
            if not {**stored, "base_sha256": sha256(content).hexdigest()}.items() <= expected.items():
                raise ValueError(f"this is another base model: tensor {name} differs")
            dtype = TYPES[stored["dtype"].rstrip("0123456789")] + stored["dtype"].lstrip("BFIUOL")
            tensor = torch.frombuffer(content, dtype=getattr(torch, dtype)).view(stored["shape"])
            if "sha256" in expected:
                flags = masks[name][:, None].bitwise_right_shift(torch.arange(8, dtype=torch.uint8)).bitwise_and(1)
                kept = flags.flatten()[: tensor.numel()].view_as(tensor).bool()
                tensor.masked_fill_(~kept, 0)
                if name in values:
                    tensor.masked_scatter_(kept, values[name])
                if sha256(content).hexdigest() != expected["sha256"]:
                    raise ValueError(f"the published files are damaged: tensor {name} differs")
            tensors[name] = tensor
        yield Path(file).name, data, tensors
    for name in left:
        raise ValueError(f"this is another base model: it lacks tensor {name}")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
