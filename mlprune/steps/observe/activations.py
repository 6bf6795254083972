"""Step `observe`, opt-in: the raw activations of a demonstration set, one row a token, and their reader.

They are what layers read in the dense model, before any sum. Their size is a matter of gigabytes: the recipe gives a
quota, and the plan refuses what may be larger (`plan/observing.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mlprune.corpus.calibration import token_batches
from mlprune.errors import BadInputError, StatisticsError
from mlprune.models.chain import Chain, stream_tagged
from mlprune.models.inference.capturing import CaptureVisitor
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.parallel import parallel_map
from mlprune.steps.job import ChainLoader
from mlprune.steps.job_cost import EMPTY_SET, JobCost, SetSizes
from mlprune.steps.observe.cost import activations_cost
from mlprune.steps.observe.dense_pass import DensePassJob
from mlprune.store.parquet import Layout, columns_of, decode_numeric, encode_numeric
from mlprune.store.records import Artefact
from mlprune.store.store import Store

StoredDtype = Literal["float32", "float16"]
STORED_BYTES: Mapping[StoredDtype, int] = {"float32": 4, "float16": 2}
"""Bytes of one stored activation."""

COLUMNS = {"block": "int32", "input": "string", "demonstration": "int32", "position": "int32", "token_id": "int32"}
LAYOUTS = {
    dtype: Layout("activations", 1, {**COLUMNS, "activation": f"list<{kind}>"})
    for dtype, kind in (("float32", "float"), ("float16", "half"))
}
"""One row a token; numbers of bfloat16 models are held exactly by float32."""


@dataclass(frozen=True)
class Activations:
    """What one input of one block was, token by token, in the order of demonstrations and positions."""

    demonstrations: np.ndarray
    """[t] int32."""
    positions: np.ndarray
    """[t] int32, from 0 in each demonstration."""
    token_ids: np.ndarray
    """[t] int32."""
    values: Tensor
    """[t, in] float32 or float16, as stored."""


@dataclass(frozen=True)
class ActivationsJob(DensePassJob):
    """Run the first demonstrations of a set through the dense model and keep what some of its layers read."""

    set_name: str
    blocks: tuple[int, ...]
    inputs: tuple[str, ...]
    """By the first layer that reads them."""
    parts: tuple[range, ...]
    """Demonstrations that are run, and held in memory, together."""
    dtype: StoredDtype
    most_bytes: int
    """Most that the stored numbers can take."""
    quota_gib: float

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over each part, whose activations are in memory until they are written."""
        return activations_cost(
            self.step,
            sizes,
            sets.get(self.demonstration_set_id, EMPTY_SET),
            part_lengths=[len(part) for part in self.parts],
            stored_bytes=self.most_bytes,
            item_bytes=STORED_BYTES[self.dtype],
            batch_tokens=self.batch_tokens,
        )

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Run part after part, each written before the next, then write the record.

        Raises:
            StatisticsError: an activation is not finite, or does not fit the dtype that was asked for.
        """
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        files = [file for part in self.parts for file in self._run_part(store, model, part)]
        store.write_record(self.identity.record(artefacts=tuple(files)))

    def _run_part(self, store: Store, model: Chain, part: range) -> Iterator[Artefact]:
        """Capture some demonstrations and write a file for every block and input, side by side."""
        source = store.require("demonstration_sets", self.demonstration_set_id).artefacts[0]
        texts = columns_of(store.read_bytes(source), ["token_ids"], rows=part)["token_ids"]
        wanted = dict.fromkeys(self.blocks, self.inputs)
        batches = token_batches(texts, batch_tokens=self.batch_tokens)
        gathered: dict[tuple[int, str], dict[int, Tensor]] = {}
        for places, captured in stream_tagged(model, partial(CaptureVisitor, inputs_of_block=wanted), batches):
            for key, found in captured.inputs.items():
                gathered.setdefault(key, {}).update(zip(places, found, strict=True))
        return parallel_map(lambda key: self._write(store, key, gathered[key], part=part, texts=texts), gathered)

    def _write(
        self, store: Store, key: tuple[int, str], found: dict[int, Tensor], *, part: range, texts: Sequence[Any]
    ) -> Artefact:
        """One file: the tokens of some demonstrations at one input, in order."""
        block, name = key
        lengths = [len(ids) for ids in texts]
        values = torch.cat([found[place] for place in range(len(part))])
        columns: dict[str, Any] = {
            "block": np.full(len(values), block, dtype=np.int32),
            "input": [name] * len(values),
            "demonstration": np.repeat(np.asarray(part, dtype=np.int32), lengths),
            "position": np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
            "token_id": np.concatenate(list(texts)),
            "activation": list(self._stored(values, key).numpy()),
        }
        data, n_rows = encode_numeric(columns, LAYOUTS[self.dtype])
        path = f"activations/{self.identity.id}/block-{block:03d}.{name}.part-{part.start:05d}.parquet"
        return store.write_bytes(path, data, n_rows=n_rows)

    def _stored(self, values: Tensor, key: tuple[int, str]) -> Tensor:
        """In the dtype that was asked for."""
        stored = values.to(torch.float16 if self.dtype == "float16" else torch.float32)
        if not bool(torch.isfinite(stored).all()):
            largest = float(values.abs().max())
            message = "an activation is too large for the dtype it is to be stored in"
            expected = "activations: {dtype: float32}"
            raise StatisticsError(message, block=key[0], input=key[1], expected=expected, got=largest)
        return stored


def read_activations(store: Store, activations_id: str, *, block: int, layer_input: str) -> Activations:
    """The activations of one input of one block; no other files are opened.

    Args:
        activations_id: of the record.
        block: from 0.
        layer_input: path, inside the block, of the first layer that reads it.

    Raises:
        BadInputError: they were not stored.
        DamagedArtefactError: a file is missing or differs from the record.
        StoreError: there is no such record, or a newer version wrote a file.
    """
    record = store.require("activations", activations_id)
    place = f"/block-{block:03d}.{layer_input}.part-"
    artefacts = [one for one in record.artefacts if place in one.path]
    if not artefacts:
        known = sorted({one.path.rpartition("/")[2].partition(".part-")[0] for one in record.artefacts})
        raise BadInputError("no such activations are stored", expected=known, got=place[1:].removesuffix(".part-"))
    layout = LAYOUTS[record.parameters["stored_dtype"]]
    parts: list[Any] = [decode_numeric(store.read_bytes(one), layout, path=one.path) for one in artefacts]
    values = [one["activation"].values.reshape(len(one["position"]), -1) for one in parts]
    return Activations(
        demonstrations=np.concatenate([one["demonstration"] for one in parts]),
        positions=np.concatenate([one["position"] for one in parts]),
        token_ids=np.concatenate([one["token_id"] for one in parts]),
        values=torch.from_numpy(np.concatenate(values)),
    )
