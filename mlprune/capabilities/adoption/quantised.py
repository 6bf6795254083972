"""Quantised checkpoints of a base model, which an import wrote as values: what may differ, and what they are.

Layers that can be pruned may have any values. The embedding and the head may differ as far as codes of their bits do:
for each row w of the base model and its values v, of n inputs each,

    sqrt(sum (v - w)^2 / n) <= 2^(1 - bits) * max(max |w|, 2^-10 * max |W|)

and over the whole tensor sum (v - w)^2 <= 0.49 * sum w^2. Rounding to the nearest of symmetric levels that span the
largest weight has at most 2^bits / (2^(bits + 1) - 4) of the first bound: 0.50 with 8 bits, 0.57 with 4, 0.67 with 3.
Different tensors have a squared error of about twice their squares. All other tensors are those of the base model,
rounded to the narrower of the two dtypes; the values of the base model are used.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.json_values import JsonObject, JsonValue, Row
from mlprune.models.checkpoint.weight_files import TensorFiles, WeightFiles, weight_name
from mlprune.models.import_record import ImportRecord, QuantisedTensor

LARGEST_SHARE = 0.49
"""Largest squared error of a tensor, relative to its squares."""
SMALLEST_ROW = 2.0**-10
"""Largest weight of a row, relative to that of the tensor, below which its error is not compared with its own."""
SHIFT = 2.0**-22
"""Rounding of the norms of Gemma, which GGUF files store as 1 + weight."""
ROWS_TOGETHER = 4096
UNKNOWN = "unknown"
WEIGHT_ENDS = (".safetensors", ".gguf")
"""Ends of the names of files with weights."""


def rounding_error(base: Tensor, values: Tensor, bits: int) -> str | None:
    """Return how values differ from those of a base model by more than codes of some bits do; None: they do not.

    Args:
        base: [rows, inputs], any float dtype.
        values: [rows, inputs].
    """
    largest, squares, squared_error = base.abs().max().float(), 0.0, 0.0
    for first in range(0, len(base), ROWS_TOGETHER):
        rows, got = (one[first : first + ROWS_TOGETHER].float() for one in (base, values))
        errors = (got - rows).square().double()
        bounds = 2.0 ** (1 - bits) * torch.maximum(rows.abs().amax(dim=1), SMALLEST_ROW * largest)
        ratios = errors.mean(dim=1).sqrt() / bounds.clamp(min=torch.finfo(torch.float32).tiny)
        if not bool((worst := ratios.max()) <= 1):
            row = first + int(ratios.argmax())
            return f"an error of row {row} of {float(worst):.3g} times the largest that {bits} bits have"
        squares, squared_error = squares + float(rows.square().double().sum()), squared_error + float(errors.sum())
    if squared_error > LARGEST_SHARE * squares:
        return f"a relative error of {(squared_error / squares) ** 0.5 if squares else float('inf'):.3g}"
    return None


def is_rounded(base: Tensor, values: Tensor) -> bool:
    """Whether values are those of a base model rounded to the narrower of both dtypes."""
    step = max(torch.finfo(one.dtype).eps for one in (base, values))
    first, second = base.float(), values.float()
    return first.shape == second.shape and bool(((first - second).abs() <= step * first.abs() + SHIFT).all())


def new_embeddings(
    base: WeightFiles, adopted: WeightFiles, names: Sequence[str], *, record: ImportRecord, may_differ: Sequence[str]
) -> tuple[str, ...]:
    """Compare all tensors but those of prunable layers; return those of embedding and head that have new values.

    Args:
        names: tensors of the base model.
        may_differ: the embedding and the head.
    Raises:
        BadInputError: a tensor differs by more than its codes explain, or the checkpoint lacks one.
    """
    new = []
    for name in names:
        if not adopted.has(name):
            raise _of_another_model(name, "no such tensor")
        expected, got = base.read(name, base.dtype(name)), adopted.read(name, adopted.dtype(name))
        codes = codes_of(adopted, name, record)
        if codes is None or name not in may_differ:
            if not is_rounded(expected, got):
                error = (got.float() - expected.float()).norm() / expected.float().norm().clamp(min=1e-30)
                raise _of_another_model(name, f"a relative error of {float(error):.3g} without codes")
        elif (error_text := rounding_error(expected, got, codes.bits)) is not None:
            raise _of_another_model(name, error_text)
        else:
            new.append(name)
    return tuple(new)


def _of_another_model(name: str, got: str) -> BadInputError:
    message = "the quantised checkpoint belongs to another model or revision than the base model"
    expected = "its values, rounded as the type of the tensor does"
    return BadInputError(message, tensor=name, expected=expected, got=got)


def codes_of(files: WeightFiles, name: str, record: ImportRecord) -> QuantisedTensor | None:
    """Return how the source of an import stored a tensor; None if not by codes, or if it is a part of one."""
    parts = files.parts(name)
    return record.quantised.get(parts[0].name) if len(parts) == 1 and parts[0].is_whole else None


def layer_rows(files: WeightFiles, record: ImportRecord, variant_id: str, block: int) -> Iterator[Row]:
    """Yield a row of `quantised_layers` for each layer of a block that has codes."""
    for layer, shape in files.layer_shapes(block).items():
        codes = codes_of(files, weight_name(files.architecture, block, layer), record)
        if codes is not None:
            yield {
                "variant_id": variant_id,
                "block": block,
                "layer": layer,
                "method": codes.kind,
                "bits": codes.bits,
                "quantisation_group": codes.group,
                "is_symmetric": codes.is_symmetric,
                "n_weights": prod(shape),
                "n_bytes": codes.n_bytes,
                "is_reached": None,
                "n_dead_features": None,
                "n_dampings": None,
            }


def description(files: WeightFiles, record: ImportRecord, *, embeddings: Mapping[str, str], n_zeros: int) -> JsonObject:
    """Return what a quantised checkpoint is: the columns of `quantised_checkpoints` without the variant.

    Args:
        embeddings: `embedding` and `head` -> their name in the files.
        n_zeros: weights of layers that can be pruned that are 0.
    """
    kinds: Counter[str] = Counter()
    n_layers = n_coded = n_weights = n_bytes = 0
    bits: Counter[int] = Counter()
    for block in range(files.architecture.n_blocks):
        for row in layer_rows(files, record, "", block):
            n_coded, n_bytes = n_coded + 1, n_bytes + int(str(row["n_bytes"]))
            n_weights += int(str(row["n_weights"]))
            kinds[str(row["method"])] += 1
            bits[int(str(row["bits"]))] += int(str(row["n_weights"]))
        n_layers += len(files.layer_shapes(block))
    parts: dict[str, JsonValue] = {}
    for part, name in embeddings.items():
        codes = codes_of(files, name, record)
        parts |= {part: codes.kind if codes else None}
        parts |= {f"{part}_bits": 8 * codes.n_bytes / prod(files.shape(name)) if codes else None}
    return {
        "format": record.weight_format,
        "source": record.source,
        "kinds": ", ".join(f"{kind}: {number}" for kind, number in kinds.most_common()) or None,
        "bits": bits.most_common(1)[0][0] if bits else None,
        "bits_per_weight": 8 * n_bytes / n_weights if n_weights else None,
        "layers_share": n_coded / n_layers,
        **parts,
        "n_file_bytes": sum(file.n_bytes for name, file in record.files.items() if name.endswith(WEIGHT_ENDS)),
        "n_zeros": n_zeros,
        "calibration": UNKNOWN,
        "not_read": next(iter((record.quantization or "").split("; ")[1:]), None),
    }


def embedding_names(base: Path, files: TensorFiles) -> dict[str, str]:
    """Return `embedding` and `head` -> the name under which a checkpoint stores it; the same if they are tied."""
    from mlprune.models.meta_model import build_skeleton, embedding_sources  # noqa: PLC0415 - imports transformers

    model = build_skeleton(base, torch.float32)
    sources = embedding_sources(model, files.architecture, files)
    head = f"{files.architecture.head}.weight"
    return {"embedding": next(source for name, source in sources.items() if name != head), "head": sources[head]}
