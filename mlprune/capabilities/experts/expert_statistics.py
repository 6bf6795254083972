"""Expert statistics: what every expert of the dense model does for the tokens of a demonstration set.

One pass counts the tokens that are routed to each expert, and adds their gate weights and the norms of the outputs, by
demonstration and by role of the token: source, target, or other (template and special tokens). A file per block has
the sums of every demonstration, so that any subset, bootstrap or role needs no new pass; the rows of the record are
the sums of all demonstrations.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mlprune.capabilities.capability import Planned
from mlprune.capabilities.experts.routing import RoleBatch, RoutingVisitor
from mlprune.capabilities.experts.routing_sums import ROLES, SUMS, added_in_order
from mlprune.corpus.calibration import pad_batch, token_batches
from mlprune.corpus.demonstrations import SOURCE, TARGET
from mlprune.corpus.token_languages import SetLanguages
from mlprune.errors import StatisticsError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.chain import stream_tagged
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import job_parts
from mlprune.pruning.block_inputs import demonstration_weights
from mlprune.pruning.spec import StatisticsSelection
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import EMPTY_SET, ChainLoader, JobCost, SetSizes
from mlprune.steps.observe.dense_pass import COORDINATING_BYTES, DensePassJob, pass_jobs
from mlprune.steps.observe.expert_tokens import TABLE as EXPERT_TOKENS
from mlprune.steps.observe.expert_tokens import expert_rows
from mlprune.steps.observe.statistics_files import array_column, matrix_column, numeric_columns
from mlprune.steps.sets import PlannedSets
from mlprune.store.parquet import Layout, decode_numeric, encode_numeric
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

KIND = "expert_statistics"
"""Kind of the records, and table of their rows."""
LAYOUT = Layout(
    KIND, 1, {"demonstration": "int32", "n_experts": "int32", "n_tokens": "list<int64>", "sums": "list<double>"}
)
"""One row per demonstration, from 0: its counted tokens by role, and [experts, roles, sums]."""
_ROW_BYTES = 60
"""Bytes of a row of the record, compressed."""
_SCOPES: Mapping[TokenScope, tuple[str, ...]] = {"all": ROLES, "source": ("source",), "target": ("target",)}
"""Token scope -> the roles of its tokens."""


@dataclass(frozen=True)
class ExpertStatisticsJob(DensePassJob):
    """Run a demonstration set through the dense model and observe its experts."""

    n_experts: int = 0
    """Experts of all blocks, for the cost."""

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the set. The sums of all its demonstrations are in memory until the end."""
        n_bytes = 8 * len(ROLES) * len(SUMS) * self.n_experts
        n_bytes *= sets.get(self.demonstration_set_id, EMPTY_SET).n_demonstrations
        usual = super().cost(sizes, sets)
        disk_bytes = float(n_bytes + _ROW_BYTES * len(ROLES) * self.n_experts)
        return replace(
            usual, fixed_bytes=max(COORDINATING_BYTES, usual.fixed_bytes + 2 * n_bytes), disk_bytes=disk_bytes
        )

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Observe all batches, then write a file per block and the record.

        Raises:
            StatisticsError: a gate weight or an output of an expert is not finite.
        """
        artefact = store.require("demonstration_sets", self.demonstration_set_id).artefacts[0]
        table = store.read_table(artefact, ["token_ids", "sides"])
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        n, sums = len(table["token_ids"]), dict[int, Tensor]()
        n_tokens = torch.zeros(n, len(ROLES), dtype=torch.int64)
        batches = role_batches(table["token_ids"], table["sides"], batch_tokens=self.batch_tokens)
        with job_parts("text", n) as done:
            for indices, routing in stream_tagged(model, RoutingVisitor, batches):
                rows = list(indices)
                n_tokens[rows] = routing.n_tokens
                for block, of_block in routing.sums.items():
                    if block not in sums:
                        sums[block] = torch.zeros(n, of_block.shape[0], *of_block.shape[2:], dtype=torch.float64)
                    sums[block][rows] = of_block.transpose(0, 1)
                done(len(indices))
        blocks = sorted(sums)
        artefacts = tuple(
            _write(store, self.identity.id, block, sums=sums[block], n_tokens=n_tokens) for block in blocks
        )
        of_languages = list(self._tokens_by_language(store, sums))
        tables: dict[str, Sequence[JsonObject]] = {KIND: self._rows(store, sums, n_tokens), EXPERT_TOKENS: of_languages}
        store.write_record(self.identity.record(artefacts=artefacts, rows=tables))

    def _tokens_by_language(self, store: Store, sums: Mapping[int, Tensor]) -> Iterator[JsonObject]:
        """Return the tokens of all demonstrations that are routed to each expert, by side and language."""
        set_id = self.demonstration_set_id
        languages = SetLanguages.of(store, store.require("demonstration_sets", set_id))
        counts: dict[int, Tensor] = {}
        for block, of_block in sums.items():
            n_tokens = torch.zeros(of_block.shape[1], len(languages.groups), dtype=torch.int64)
            for of_demonstration, places in zip(of_block, languages.of_sides, strict=True):
                n_tokens[:, list(places)] += of_demonstration[:, :, SUMS.index("n_routed")].to(torch.int64)
            counts[block] = n_tokens.flatten()
        yield from expert_rows(self.identity.id, set_id, languages.groups, counts)

    def _rows(self, store: Store, sums: Mapping[int, Tensor], n_tokens: Tensor) -> list[dict[str, JsonValue]]:
        """Return the sums over all demonstrations, for the roles that some token has."""
        described = store.require("demonstration_sets", self.demonstration_set_id).rows["demonstration_sets"][0]
        totals = n_tokens.sum(dim=0).tolist()
        roles = [index for index, total in enumerate(totals) if total]
        own: dict[str, JsonValue] = {
            "expert_statistics_id": self.identity.id,
            "base_model_id": self.model.base_model_id,
            "demonstration_set_id": self.demonstration_set_id,
        }
        return [
            {
                **own,
                "block": block,
                "expert": expert,
                "role": ROLES[role],
                "language": None if ROLES[role] == "other" else described[f"{ROLES[role]}_language"],
                "n_tokens": totals[role],
                "n_routed": int(of_role[role][0]),
                **dict(zip(SUMS[1:], of_role[role][1:], strict=True)),
            }
            for block in sorted(sums)
            for expert, of_role in enumerate(added_in_order(sums[block]).tolist())
            for role in roles
        ]


def role_batches(
    token_ids: Sequence[Sequence[int]], sides: Sequence[Sequence[int]], *, batch_tokens: int
) -> Iterator[tuple[tuple[int, ...], RoleBatch]]:
    """Return the batches of `token_batches` with the role of every token."""
    role_of_side = {SOURCE: ROLES.index("source"), TARGET: ROLES.index("target")}
    for indices, batch in token_batches(token_ids, batch_tokens=batch_tokens):
        roles = [[role_of_side.get(int(side), 0) for side in sides[index]] for index in indices]
        yield indices, RoleBatch(batch.token_ids, batch.attention_mask, batch.counted, pad_batch(roles).token_ids)


def _write(store: Store, owner: str, block: int, *, sums: Tensor, n_tokens: Tensor) -> Artefact:
    columns = {
        "demonstration": list(range(len(sums))),
        "n_experts": [sums.shape[1]] * len(sums),
        "n_tokens": list(n_tokens.numpy()),
        "sums": list(sums.flatten(start_dim=1).numpy()),
    }
    data, n_rows = encode_numeric(numeric_columns(columns), LAYOUT)
    return store.write_bytes(f"routing/{owner}/block-{block:03d}.parquet", data, n_rows=n_rows)


def blocks_of(record: Record) -> dict[int, Artefact]:
    """Return block -> its file, of the blocks with experts."""
    return {int(file.path.rpartition("block-")[2].partition(".")[0]): file for file in record.artefacts}


def read_demonstrations(store: Store, artefact: Artefact) -> tuple[Tensor, Tensor]:
    """Read the sums of every demonstration in one block.

    Returns: [n, experts, roles, sums] float64, and [n, roles] int64 counted tokens.
    Raises:
        DamagedArtefactError: the file is missing or differs from its record.
    """
    columns = decode_numeric(store.read_bytes(artefact), LAYOUT, path=artefact.path)
    n_experts = int(array_column(columns, "n_experts")[0])
    sums = torch.from_numpy(matrix_column(columns, "sums").copy())
    n_tokens = torch.from_numpy(matrix_column(columns, "n_tokens").copy())
    return sums.reshape(len(sums), n_experts, len(ROLES), len(SUMS)), n_tokens


def selected_sums(store: Store, artefact: Artefact, selection: StatisticsSelection) -> tuple[Tensor, float]:
    """Return the sums of one block over the selected demonstrations and tokens of a set.

    Returns: [experts, sums] float64, and the number of tokens.
    Raises:
        StatisticsError: no token is selected, or the set has fewer demonstrations than selected.
    """
    sums, n_tokens = read_demonstrations(store, artefact)
    weights = demonstration_weights(len(sums), selection)
    roles = [ROLES.index(role) for role in _SCOPES[selection.token_scope]]
    total = float(added_in_order(n_tokens[:, roles].sum(dim=1).double(), weights))
    if total == 0:
        raise StatisticsError("no token of a set counts", file=artefact.path, token_scope=selection.token_scope)
    added = added_in_order(sums, weights)
    return added_in_order(added[:, roles].transpose(0, 1)), total


def expert_statistics_jobs(
    recipe: Recipe, inputs: Inputs, sets: PlannedSets, *, names: Iterable[str]
) -> list[ExpertStatisticsJob]:
    """Return one job per distinct set with one of the names."""
    n_experts = sum(one.n_experts for one in architecture_at(inputs.model.path).experts.values())
    return [
        replace(job, n_experts=n_experts)
        for job in pass_jobs(ExpertStatisticsJob, KIND, recipe, inputs, sets, names=names)
    ]


def observed_jobs(planned: Planned) -> list[ExpertStatisticsJob]:
    """Return one job per distinct set with a name in `analyses.experts`."""
    recipe = planned.recipe
    return expert_statistics_jobs(recipe, planned.inputs, planned.sets.default, names=recipe.analyses.experts)
