"""Raw activations (opt-in): the inputs of layers of the dense model, token by token, and their reader.

They can take gigabytes. The recipe sets a quota, and planning refuses what may exceed it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from mlprune.corpus.calibration import token_batches
from mlprune.errors import BadInputError, RecipeError, StatisticsError, unknown
from mlprune.json_values import JsonValue, as_str
from mlprune.models.chain import Chain, stream_tagged
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.inference.observation import CaptureVisitor
from mlprune.models.placement.memory_estimate import Footprint, gib_rounded_up
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import in_parts, job_parts
from mlprune.processes.parallel import parallel_map
from mlprune.recipe.demonstrations import ActivationsConfig
from mlprune.recipe.models import Recipe
from mlprune.steps import job
from mlprune.steps.inputs import Inputs
from mlprune.steps.observe.dense_pass import DensePassJob
from mlprune.steps.observe.passes import input_widths, split_demonstrations
from mlprune.steps.observe.statistics_files import array_column, matrix_column, numeric_columns
from mlprune.steps.plan_lines import PlanLine, PlannedJobs
from mlprune.steps.sets import PlannedSet
from mlprune.store.parquet import Layout, columns_of, decode_numeric, encode_numeric
from mlprune.store.records import Artefact
from mlprune.store.store import Store

InputKey = tuple[int, str]
"""(block, input)."""
StoredDtype = Literal["float32", "float16"]
STORED_BYTES: Mapping[StoredDtype, int] = {"float32": 4, "float16": 2}
"""Bytes of one stored activation."""

COLUMNS = {"block": "int32", "input": "string", "demonstration": "int32", "position": "int32", "token_id": "int32"}
LAYOUTS = {
    dtype: Layout("activations", 1, {**COLUMNS, "activation": f"list<{kind}>"})
    for dtype, kind in (("float32", "float"), ("float16", "half"))
}
"""One row per token. float32 represents the numbers of bfloat16 models exactly."""

COPIES = 3
"""Copies of the raw activations of one part in memory: as they arrive, joined, and as files."""


@dataclass(frozen=True)
class Activations:
    """One input of one block, token by token, in the order of demonstrations and positions."""

    demonstrations: np.ndarray
    """[t] int32."""
    positions: np.ndarray
    """[t] int32, positions from 0 in each demonstration."""
    token_ids: np.ndarray
    """[t] int32."""
    values: Tensor
    """[t, in] float32 or float16, as stored."""


@dataclass(frozen=True)
class ActivationsJob(DensePassJob):
    """Run the first demonstrations of a set through the dense model and store the inputs of some layers."""

    set_name: str
    blocks: tuple[int, ...]
    inputs: tuple[str, ...]
    """Inputs, each named after the first layer that reads it."""
    parts: tuple[range, ...]
    """Demonstrations that are run, and are in memory, together."""
    dtype: StoredDtype
    most_bytes: int
    """Upper bound on the bytes of the stored numbers."""
    quota_gib: float

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, job.JobCost]) -> Iterable[PlanLine]:
        """One line per set: its quota."""
        for one in planned.jobs:
            most = f"at most {one.most_bytes / 2**30:.3f} GiB, quota {one.quota_gib:g} GiB"
            yield PlanLine("steps", f"raw activations of {one.set_name}: {most}")

    @property
    def shares_replicas(self) -> bool:
        """Return False: the activations of batches are large."""
        return False

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """One pass over each part, whose activations are in memory until they are written."""
        part_lengths = [len(part) for part in self.parts]
        n_demonstrations, size = sum(part_lengths), sets.get(self.demonstration_set_id, job.EMPTY_SET)
        largest_share = max(part_lengths, default=0) / max(1, n_demonstrations)
        n_tokens = size.n_tokens * n_demonstrations / max(1, size.n_demonstrations)
        stored_bytes, item_bytes = self.most_bytes, STORED_BYTES[self.dtype]
        thread_bytes = job.batch_bytes(sizes, self.batch_tokens)
        return replace(
            # an observed block runs twice
            job.JobCost.dense_pass(self.step, sizes, n_tokens, thread_bytes=thread_bytes, n_runs=2),
            n_passes=len(part_lengths),
            fixed_bytes=job.SMALL_JOB_BYTES + int(COPIES * largest_share * 4 / item_bytes * stored_bytes),
            disk_bytes=float(stored_bytes),
            result_bytes=4.0 / item_bytes * stored_bytes,
        )

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Run and write part after part, then write the record.

        Raises:
            StatisticsError: an activation is not finite, or too large for the stored dtype.
        """
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        files = [file for part in in_parts("part", self.parts) for file in self._run_part(store, model, part)]
        store.write_record(self.identity.record(artefacts=tuple(files)))

    def _run_part(self, store: Store, model: Chain, part: range) -> Iterator[Artefact]:
        """Capture some demonstrations and write one file per block and input, several at a time."""
        source = store.require("demonstration_sets", self.demonstration_set_id).artefacts[0]
        token_ids = columns_of(store.read_bytes(source), ["token_ids"], rows=part)["token_ids"]
        visitor = partial(CaptureVisitor, inputs_of_block=self._inputs_of_block())
        batches = token_batches(token_ids, batch_tokens=self.batch_tokens)
        captured: dict[InputKey, dict[int, Tensor]] = {}
        positions: dict[InputKey, dict[int, Tensor]] = {}
        with job_parts("text", len(token_ids)) as done:
            for indices, batch_captured in stream_tagged(model, visitor, batches):
                for key, values in batch_captured.inputs.items():
                    captured.setdefault(key, {}).update(zip(indices, values, strict=True))
                for key, values in batch_captured.positions.items():
                    positions.setdefault(key, {}).update(zip(indices, values, strict=True))
                done(len(indices))

        def write(key: InputKey) -> Artefact:
            values = torch.cat([captured[key][index] for index in range(len(part))])
            read = [np.arange(len(ids)) for ids in token_ids]
            for index, of_text in positions.get(key, {}).items():
                read[index] = of_text.numpy()
            return self._write(store, key, values, part=part, token_ids=token_ids, positions=read)

        with_tokens = [key for key, values in captured.items() if any(map(len, values.values()))]
        return parallel_map(write, with_tokens)

    def _inputs_of_block(self) -> dict[int, tuple[str, ...]]:
        """Return block -> the chosen inputs that it has."""
        architecture = architecture_at(self.model.path)
        names = {block: architecture.block(block).input_names for block in self.blocks}
        return {block: tuple(name for name in self.inputs if name in names[block]) for block in self.blocks}

    def _write(
        self,
        store: Store,
        key: InputKey,
        values: Tensor,
        *,
        part: range,
        token_ids: Sequence[np.ndarray],
        positions: Sequence[np.ndarray],
    ) -> Artefact:
        """Write one file: the tokens of some demonstrations at one input, in order.

        Args:
            positions: of the tokens of each demonstration that the input has.
        """
        block, name = key
        lengths = [len(of_text) for of_text in positions]
        columns: dict[str, Sequence[object] | np.ndarray] = {
            "block": np.full(len(values), block, dtype=np.int32),
            "input": [name] * len(values),
            "demonstration": np.repeat(np.asarray(part, dtype=np.int32), lengths),
            "position": np.concatenate(positions).astype(np.int32),
            "token_id": np.concatenate([ids[of_text] for ids, of_text in zip(token_ids, positions, strict=True)]),
            "activation": list(to_stored_dtype(values, self.dtype, key=key).numpy()),
        }
        data, n_rows = encode_numeric(numeric_columns(columns), LAYOUTS[self.dtype])
        path = f"activations/{self.identity.id}/block-{block:03d}.{name}.part-{part.start:05d}.parquet"
        return store.write_bytes(path, data, n_rows=n_rows)


def to_stored_dtype(values: Tensor, dtype: StoredDtype, *, key: InputKey) -> Tensor:
    """Activations of an input in the dtype in which they are stored.

    Raises:
        StatisticsError: an activation is not finite in this dtype.
    """
    converted = values.to(torch.float16 if dtype == "float16" else torch.float32)
    if not bool(torch.isfinite(converted).all()):
        largest = float(values.abs().max())
        message = "an activation is too large for the stored dtype"
        expected = "activations: {dtype: float32}"
        raise StatisticsError(message, block=key[0], input=key[1], expected=expected, got=largest)
    return converted


def read_activations(store: Store, activations_id: str, *, block: int, layer_input: str) -> Activations:
    """The activations of one input of one block. Only their files are opened; an expert without tokens has none.

    Args:
        activations_id: id of the record.
        block: from 0.
        layer_input: path, inside the block, of the first layer that reads the input.

    Raises:
        BadInputError: these activations are not stored.
        DamagedArtefactError: a file is missing or differs from the record.
        StoreError: there is no such record, or a newer version wrote a file.
    """
    record = store.require("activations", activations_id)
    stem = f"/block-{block:03d}.{layer_input}.part-"
    artefacts = [artefact for artefact in record.artefacts if stem in artefact.path]
    if not artefacts:
        stems = sorted({artefact.path.rpartition("/")[2].partition(".part-")[0] for artefact in record.artefacts})
        got = stem[1:].removesuffix(".part-")
        raise BadInputError("no such activations are stored", expected=stems, got=got)
    layout = LAYOUTS[as_str(record.parameters["stored_dtype"])]
    parts = [decode_numeric(store.read_bytes(artefact), layout, path=artefact.path) for artefact in artefacts]
    return Activations(
        demonstrations=np.concatenate([array_column(part, "demonstration") for part in parts]),
        positions=np.concatenate([array_column(part, "position") for part in parts]),
        token_ids=np.concatenate([array_column(part, "token_id") for part in parts]),
        values=torch.from_numpy(np.concatenate([matrix_column(part, "activation") for part in parts])),
    )


def activation_jobs(recipe: Recipe, inputs: Inputs, sets: Iterable[PlannedSet]) -> list[ActivationsJob]:
    """One job per distinct set whose entry has `activations`.

    Raises:
        RecipeError: the model does not have a block or input that an entry names, an entry wants more demonstrations
            than its set has, or its activations may exceed its quota.
    """
    jobs = (_job(recipe, inputs, planned, planned.activations) for planned in sets if planned.activations is not None)
    return list({one.identity.id: one for one in jobs}.values())


def _job(recipe: Recipe, inputs: Inputs, planned: PlannedSet, config: ActivationsConfig) -> ActivationsJob:
    blocks, names = _chosen(inputs, planned, config)
    spec = planned.spec
    samples = spec.samples if config.samples is None else config.samples
    if samples > spec.samples:
        message = "activations would need more demonstrations than the set has"
        raise RecipeError(message, demonstrations=planned.name, expected=f"at most {spec.samples}", got=samples)
    token_bytes = STORED_BYTES[config.dtype] * len(blocks) * _features_of_token(inputs.model, names)
    max_bytes = min(samples * spec.max_tokens, spec.token_budget or samples * spec.max_tokens) * token_bytes
    if max_bytes > config.quota_gib * 2**30:
        raise RecipeError(
            "raw activations may exceed their quota",
            demonstrations=planned.name,
            expected=f"quota_gib: {gib_rounded_up(max_bytes, digits=3)}, or fewer blocks, inputs or samples",
            got=config.quota_gib,
        )
    parts = tuple(split_demonstrations(samples, max_tokens=spec.max_tokens, n_bytes=spec.max_tokens * token_bytes))
    batch_tokens = inputs.model.batch_tokens(recipe.compute)
    parameters: dict[str, JsonValue] = {
        "blocks": list(blocks),
        "inputs": list(names),
        "samples": samples,
        "stored_dtype": config.dtype,
        **job.computed_parameters(inputs.model, batch_tokens=batch_tokens),
        "parts": len(parts),
    }
    parents = {"base_model": inputs.base.id, "demonstration_set": planned.id}
    return ActivationsJob(
        job.make_identity("activations", parameters, parents=parents),
        inputs.model,
        planned.id,
        set_name=planned.name,
        blocks=blocks,
        inputs=names,
        parts=parts,
        dtype=config.dtype,
        batch_tokens=batch_tokens,
        most_bytes=max_bytes,
        quota_gib=config.quota_gib,
    )


def _features_of_token(model: job.ModelRef, names: Sequence[str]) -> int:
    """Return the most features that a token has at some inputs of a block: it reads as many experts as it chooses."""
    widths, architecture = input_widths(model), architecture_at(model.path)
    experts = next(iter(architecture.experts.values()), None)
    routed = [name for name in names if experts is not None and experts.has(name)]
    n_features = sum(widths[name] for name in names if name not in routed)
    if experts is not None:
        for layer in experts.names:
            of_layer = sorted((widths[name] for name in routed if name.endswith(f".{layer}")), reverse=True)
            n_features += sum(of_layer[: experts.top_k])
    return n_features


def _chosen(inputs: Inputs, planned: PlannedSet, config: ActivationsConfig) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Blocks and inputs in the model's order."""
    all_blocks, all_inputs = range(inputs.model.n_blocks), tuple(input_widths(inputs.model))
    for block in config.blocks:
        if block not in all_blocks:
            expected = f"0 to {all_blocks[-1]}"
            raise RecipeError("the model has no such block", demonstrations=planned.name, expected=expected, got=block)
    for name in config.inputs:
        if name not in all_inputs:
            raise unknown("input of a block", name, all_inputs, error=RecipeError, demonstrations=planned.name)
    blocks = tuple(block for block in all_blocks if block in (config.blocks or all_blocks))
    return blocks, tuple(name for name in all_inputs if name in (config.inputs or all_inputs))
