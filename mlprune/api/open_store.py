"""An open store: the public object for reading results, variants, masks, models and files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlprune.api import stored_files
from mlprune.api.choice import Choice, Texts
from mlprune.api.named_queries import NamedQueries
from mlprune.api.reading import METRICS_ORDER, VARIANT_COLUMNS, CatalogReader
from mlprune.api.relation import Relation, Row, Value, facts_html
from mlprune.errors import BadInputError, QueryError, StoreError
from mlprune.store.store import Store

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from mlprune.vocabulary import TokenScope

SHOWN = ("label", "names", "score", "sparsity", "achieved_sparsity", "structure", "propagation", "demonstration_label")
"""Columns that a notebook shows."""
EVALUATIONS_ORDER = "task, split, language, label, evaluation_id"


@dataclass(frozen=True)
class Variant:
    """One variant of a store. All methods of the store that take a variant also take this object."""

    store: "OpenStore"
    id: str

    @property
    def row(self) -> Row:
        """The variant's row of `store.variants()`."""
        return self.store.variants(variant_id=self.id).row()

    @property
    def label(self) -> str:
        """The label, different for every variant of the store."""
        return str(self.row["label"])

    def metrics(self, **choice: Any) -> Relation:
        """Return its values of metrics; see `OpenStore.metrics`."""
        return self.store.metrics(variant_id=self.id, **choice)

    def layers(self, **choice: Any) -> Relation:
        """Return its pruned layers; see `OpenStore.layers`."""
        return self.store.layers(variant_id=self.id, **choice)

    def evaluations(self, **choice: Any) -> Relation:
        """Return its evaluations; see `OpenStore.evaluations`."""
        return self.store.evaluations(variant_id=self.id, **choice)

    def predictions(self, **filters: Value) -> Relation:
        """Return its predictions in the one evaluation that filters select; see `OpenStore.predictions`."""
        return self.store.predictions(None, variant_id=self.id, **filters)

    def load(
        self,
        *,
        dtype: str | None = None,
        device: "str | torch.device | None" = None,
        model: str | Path | None = None,
    ) -> "PreTrainedModel":
        """Load it as a transformers model; see `OpenStore.load`."""
        return self.store.load(self, dtype=dtype, device=device, model=model)

    def tokenizer(self, *, model: str | Path | None = None) -> "PreTrainedTokenizerBase":
        """Load the tokenizer of its base model; see `OpenStore.tokenizer`."""
        return self.store.tokenizer(self, model=model)

    def mask(self, block: int, layer: str) -> "torch.Tensor":
        """Return the keep mask of a layer; see `OpenStore.mask`."""
        return self.store.mask(self, block, layer)

    def __repr__(self) -> str:
        return f"<variant {self.label}: {self.id}>"

    def _repr_html_(self) -> str:
        row = self.row
        return facts_html(str(row["label"]), [*((name, row[name]) for name in SHOWN), ("id", self.id)])


class OpenStore:
    """A store that is open for reading; `mlprune.open` returns one. No method changes a result.

    Variants are named by their label, such as `wanda fr-en 0.5`, by a name that a recipe gives them, by their id, or
    by a unique beginning of one of these. The same holds for demonstration sets.

    Args:
        store: a store with records.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reader = CatalogReader(store)
        self.queries = NamedQueries(self._reader)
        """The named queries as functions: `store.queries.best_by_language(task="xnli")`."""

    @property
    def uri(self) -> str:
        """The folder or the URI of the store."""
        return self._store.uri

    def refresh(self) -> int:
        """Read what runs have added since the store was opened or refreshed; return the number of new records."""
        return self._reader.refresh()

    def close(self) -> None:
        """Delete temporary files. A store that is not closed keeps no file open that a run needs."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Relations

    def variants(
        self,
        *,
        where: Texts = (),
        parameters: Mapping[str, Value] | None = None,
        order_by: Texts | None = None,
        limit: int | None = None,
        **filters: Value,
    ) -> Relation:
        """Return one row per variant, by sparsity.

        Args:
            where: conditions in SQL that all hold, such as `["sparsity > 0.3", "label LIKE 'wanda%'"]`.
            parameters: a value for each `$name` in the conditions.
            order_by: columns to sort by, such as `"sparsity DESC"`; rows that they leave equal keep the usual order.
                `()` leaves the order open, which is faster for millions of rows.
            limit: most rows.
            filters: column -> value, or list of values; None is NULL. `variant` takes names.
        Raises:
            QueryError: there is no such column, a value has the wrong type, a text occurs in no row of its column, or
                DuckDB refuses a condition.
        """
        choice = Choice(filters, where, parameters, order_by, limit)
        return self._reader.rows("variants", choice, order="base_model_id, sparsity, label, variant_id")

    def metrics(
        self,
        *,
        where: Texts = (),
        parameters: Mapping[str, Value] | None = None,
        order_by: Texts | None = None,
        limit: int | None = None,
        **filters: Value,
    ) -> Relation:
        """Return one row per value of a metric, with its 95 % interval and the dense model's value; see `variants`.

        Evaluations that a larger or later one replaces are left out, and so is the profile `paper`. The order is
        that of `variants`, then task, split, language and metric.
        """
        choice = Choice(filters, where, parameters, order_by, limit)
        return self._reader.rows("metrics", choice, order=METRICS_ORDER, late=VARIANT_COLUMNS)

    def evaluations(
        self,
        *,
        where: Texts = (),
        parameters: Mapping[str, Value] | None = None,
        order_by: Texts | None = None,
        limit: int | None = None,
        **filters: Value,
    ) -> Relation:
        """Return one row per evaluation, with its id for `predictions`; see `variants` for the arguments."""
        choice = Choice(filters, where, parameters, order_by, limit)
        return self._reader.rows("evaluations", choice, order=EVALUATIONS_ORDER)

    def layers(
        self,
        *,
        where: Texts = (),
        parameters: Mapping[str, Value] | None = None,
        order_by: Texts | None = None,
        limit: int | None = None,
        **filters: Value,
    ) -> Relation:
        """Return one row per variant and pruned layer, with its mask's density; see `variants` for the arguments."""
        choice = Choice(filters, where, parameters, order_by, limit)
        return self._reader.rows("layers", choice, order="label, variant_id, block, layer")

    def sets(
        self,
        *,
        where: Texts = (),
        parameters: Mapping[str, Value] | None = None,
        order_by: Texts | None = None,
        limit: int | None = None,
        **filters: Value,
    ) -> Relation:
        """Return one row per demonstration set; see `variants` for the arguments."""
        choice = Choice(filters, where, parameters, order_by, limit)
        return self._reader.rows("sets", choice, order="label, demonstration_set_id")

    def table(
        self,
        name: str,
        /,
        *,
        where: Texts = (),
        parameters: Mapping[str, Value] | None = None,
        order_by: Texts | None = None,
        limit: int | None = None,
        **filters: Value,
    ) -> Relation:
        """Return the rows of a table or view of the catalog, by its columns in order; see `variants`.

        Raises:
            QueryError: there is no such table or view, or as for `variants`.
        """
        return self._reader.table(name, Choice(filters, where, parameters, order_by, limit))

    def query(self, name: str, /, **parameters: Value) -> Relation:
        """Run a named query; `store.queries` lists them. If `variant_id` is a parameter, it may be any name.

        Raises:
            QueryError: there is no such query or parameter, or a value has the wrong type.
        """
        return self._reader.named(name, parameters)

    def sql(
        self, text: str, parameters: Mapping[str, Value] | Sequence[Value] | None = None, **values: Value
    ) -> Relation:
        """Run one SQL statement that only reads the catalog.

        Args:
            text: the statement, with `$name` for each parameter, or `?`.
            parameters: a value for each `$name`, or a list with one for each `?`.
            values: further values for `$name`.
        Raises:
            QueryError: DuckDB refuses the statement, it does not only read, or a parameter is missing or unknown.
        """
        if isinstance(parameters, Sequence) and not isinstance(parameters, str):
            parameters = {str(number): value for number, value in enumerate(parameters, start=1)}
        if not isinstance(parameters, Mapping | None):
            raise QueryError("parameters have the wrong type", expected='{"name": value} or [value]', got=parameters)
        return self._reader.sql(text, {**(parameters or {}), **values})

    def method_styles(self) -> dict[str, dict[str, str]]:
        """Return colour (`#rrggbb`), matplotlib's marker and its face colour of each method, as in the report.

        The keys are the texts in the column `method`, such as `wanda fr-en`.
        """
        from catalog.report.query_results import styles_by_text  # noqa: PLC0415

        styles = self._reader.use(styles_by_text)
        return {
            method: {"color": style.colour, "marker": style.marker, "markerfacecolor": style.face}
            for method, style in styles.items()
        }

    # Variants

    def __getitem__(self, name: str) -> Variant:
        """Return a variant.

        Raises:
            StoreError: there is no such variant, or the name refers to several.
        """
        return Variant(self, self._reader.one_id("variant", name))

    def __iter__(self) -> Iterator[str]:
        """Yield the labels of the variants, by sparsity."""
        return iter(self.keys())

    def __len__(self) -> int:
        """Return the number of variants."""
        return len(self.variants())

    def __contains__(self, name: object) -> bool:
        """Whether a variant, or several, are named so."""
        try:
            return bool(self._reader.ids("variant", name))
        except StoreError:
            return False

    def keys(self) -> list[str]:
        """Return the labels of the variants, by sparsity."""
        return [str(label) for label in self.variants()["label"]]

    def values(self) -> list[Variant]:
        """Return the variants, by sparsity."""
        return [Variant(self, str(one)) for one in self.variants()["variant_id"]]

    def items(self) -> list[tuple[str, Variant]]:
        """Return the labels and the variants, by sparsity."""
        return list(zip(self.keys(), self.values(), strict=True))

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys()

    def load(
        self,
        variant: str | Variant,
        *,
        dtype: str | None = None,
        device: "str | torch.device | None" = None,
        model: str | Path | None = None,
    ) -> "PreTrainedModel":
        """Load a variant as a transformers model with its masks, new weights and quantisation; nothing is exported.

        Args:
            dtype: float32 (fp32), bfloat16 (bf16) or float16 (fp16); by default the one in which the variant was
                made.
            device: such as `cuda`; by default the CPU.
            model: folder of the base model, if it has moved since the run.
        Raises:
            StoreError: there is no such variant.
            BadInputError: the dtype or device is unknown, the base model is not where a run used it, or the variant has
                an intervention at run time.
        """
        variant_id = self._reader.one_id("variant", variant)
        return stored_files.load(self._store, variant_id, dtype=dtype, device=device, folder=model)

    def tokenizer(
        self, variant: str | Variant = "dense", *, model: str | Path | None = None
    ) -> "PreTrainedTokenizerBase":
        """Load the tokenizer of the base model of a variant; see `load`."""
        return stored_files.tokenizer(self.model_folder(variant) if model is None else Path(model))

    def model_folder(self, variant: str | Variant = "dense") -> Path:
        """Return the newest folder where a run used the base model of a variant, and where it still is, unchanged.

        Raises:
            BadInputError: there is no such folder.
        """
        return stored_files.model_folder(self._store, self._reader.one_id("variant", variant))

    def mask(self, variant: str | Variant, block: int, layer: str) -> "torch.Tensor":
        """Return the keep mask of a layer, bool [out, in]: True where a weight stays.

        Raises:
            StoreError: there is no such variant, block or layer, or the variant has no masks.
        """
        return stored_files.mask(self._store, self._reader.one_id("variant", variant), block, layer)

    # Files

    def predictions(self, evaluation: str | None = None, **filters: Value) -> Relation:
        """Return the stored predictions of an evaluation: one row per example and candidate, or per translation.

        Args:
            evaluation: an id, or the unique beginning of one.
            filters: columns of `evaluations` instead, such as `variant`, `task`, `language` and `split`; they have to
                select one evaluation.
        Raises:
            QueryError: there is no such evaluation, or several.
        """
        evaluation_id = self._evaluation_id(evaluation, filters)
        return self._reader.read("predictions", {"evaluation_id": evaluation_id})

    def _evaluation_id(self, evaluation: str | None, filters: Mapping[str, Value]) -> str:
        if evaluation is not None:
            return evaluation
        if not filters:
            expected = "the id of an evaluation, or filters such as variant, task, language and split"
            raise BadInputError("no evaluation is named", expected=expected)
        found = self._reader.rows("evaluations", Choice(filters), order=EVALUATIONS_ORDER)
        if len(found) != 1:
            columns = ("label", "task", "language", "split", "scoring_rule", "evaluation_id")
            got = [" ".join(str(row[column]) for column in columns) for _, row in zip(range(5), found, strict=False)]
            raise StoreError("the filters do not select one evaluation", expected=1, got=len(found), first=got)
        return str(found.row()["evaluation_id"])

    def demonstrations(self, set_name: str) -> Relation:
        """Return the demonstrations of a set: one row each, with its text, its tokens and their sides and shots.

        Raises:
            StoreError: there is no such set, or several.
        """
        return stored_files.demonstrations(self._reader, self._reader.one_id("demonstration_set", set_name))

    def statistics(
        self, set_name: str, block: int, *, tokens: "TokenScope | None" = None
    ) -> "Mapping[str, torch.Tensor]":
        """Return the activation statistics of a block of the dense model over a set.

        Args:
            tokens: token scope; needed if the set was observed with several.
        Returns: input of a layer -> [demonstrations, features] float32, the sum of squares of each feature.
        Raises:
            StoreError: there is no such set, block or token scope, or the set was not observed.
        """
        set_id = self._reader.one_id("demonstration_set", set_name)
        return stored_files.statistics(self._store, self._reader, set_id, block=block, tokens=tokens)

    # Views

    def __repr__(self) -> str:
        row = self._reader.rows("content", Choice()).row()
        counts = [f"{value} {name.removeprefix('n_')}" for name, value in row.items() if name.startswith("n_")]
        return f"<mlprune store {self.uri}: {', '.join(counts)}>"

    def _repr_html_(self) -> str:
        row = self._reader.rows("content", Choice()).row()
        return facts_html(
            f"mlprune store {self.uri}", [(name.removeprefix("n_"), value) for name, value in row.items()]
        )


def open_store(uri: str | Path) -> OpenStore:
    """Open a store; see `mlprune.api.open`."""
    if not isinstance(uri, str | Path):
        raise StoreError("a store is named by a text or a path", expected="a folder or an object-store URI", got=uri)
    store = Store(uri)
    store.require_records()
    return OpenStore(store)
