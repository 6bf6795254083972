"""Variants with a smaller vocabulary: plan them and choose their tokens.

In place, texts are tokenised with the trimmed tokenizer, whose tokens keep their ids, and removed tokens get no
probability. An export has the same tokens with new ids, and no rows for the others.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Self

from mlprune.capabilities.capability import Planned, Variants
from mlprune.capabilities.vocabulary.cost import VocabularyCostJob
from mlprune.capabilities.vocabulary.in_place import (
    SmallerVocabulary,
    in_place_folder,
    write_in_place,
)
from mlprune.capabilities.vocabulary.kept_tokens import (
    TokenChoice,
    chosen_tokens,
    encoded,
    require_spelled,
    token_scores,
)
from mlprune.capabilities.vocabulary.keys import VOCABULARY, KeepConfig
from mlprune.capabilities.vocabulary.sizes import TOKENIZER_BYTES, model_sizes
from mlprune.capabilities.vocabulary.texts import (
    CheckpointTokens,
    Counted,
    CountedTexts,
    MeasuredTexts,
    languages_in,
    planned_texts,
)
from mlprune.capabilities.vocabulary.variant import VocabularyVariant
from mlprune.errors import BadInputError, RecipeError, TaskFileError
from mlprune.hashing import digest, without_defaults
from mlprune.hub import format_size
from mlprune.json_values import JsonObject, JsonValue, Row, as_int
from mlprune.models.loading import load_tokenizer
from mlprune.models.metadata_cache import cached_metadata
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.recipe.models import Recipe
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.checkpoints import checkpoint_content, checkpoint_folder, origin_of
from mlprune.steps.inputs import Inputs, open_corpus
from mlprune.steps.job import (
    ChainLoader,
    Job,
    JobCost,
    ModelRef,
    RecordKey,
    SetSizes,
    SmallJob,
    computed_parameters,
    make_identity,
)
from mlprune.steps.plan_lines import PlanLine, PlannedJobs
from mlprune.steps.tasks.evaluation import Intervention, as_run, prepared_task
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.planned_variant import PlannedVariant, with_derived
from mlprune.steps.variants.variant import ALL_TOKENS, rows_of_parent, variant_row
from mlprune.steps.variants.variant_text import parameter_words
from mlprune.store.store import Store
from mlprune.trimming.folder import kept_tokens, read_tokenizer

SCHEMA = {"token_id": "int32", "score": "int64"}
"""Columns of a file of kept tokens, ascending; score is 0 for tokens that no counted text has."""


def counted_and_kept(
    model: ModelRef, lines: Mapping[str, Sequence[str]], choice: TokenChoice
) -> tuple[Mapping[int, int], list[int]]:
    """Return token -> score in some lines of texts, and the tokens that are kept, ascending.

    The scores are cached: variants with the same tokens and other weights count them once.
    """
    tokenizer = load_tokenizer(Path(model.path))
    required = model_sizes(model).required

    def counted() -> dict[str, int]:
        return {str(number): n for number, n in token_scores(tokenizer, lines, score=choice.score).items()}

    name = f"tokens by {'frequency' if choice.score == 'random' else choice.score} {digest(lines)}"
    scores = {int(number): int(n) for number, n in cached_metadata(Path(model.path), name, counted).items()}
    return scores, sorted(chosen_tokens(read_tokenizer(tokenizer), scores, choice, required=required))


def check_spelled(model: ModelRef, folder: Path, kept: Sequence[int], lines: Mapping[str, Sequence[str]]) -> None:
    """Check that the tokenizer of a folder, which has the kept tokens, spells some lines of texts.

    Raises:
        BadInputError: it does not.
    """
    trimmed, source = load_tokenizer(folder), read_tokenizer(load_tokenizer(Path(model.path)))
    require_spelled(source, kept, {name: encoded(trimmed, texts) for name, texts in lines.items()})


@dataclass(frozen=True)
class VocabularyJob(SmallJob):
    """Count tokens, choose those that a variant keeps, check the evaluations' prompts, and write the record."""

    step: ClassVar[str] = "prune"
    variant: VocabularyVariant
    texts: Counted
    choice: TokenChoice
    tasks: tuple[TaskSpec, ...] = field(default=(), compare=False)
    """Tasks on which the variant is evaluated."""
    batch_tokens: int = field(default=0, compare=False)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The base model, the counted sets, and the variant with all tokens."""
        parent = () if self.variant.parent.is_dense else (self.variant.parent.identity.key,)
        return (("base_models", self.variant.model.base_model_id), *self.texts.needs, *parent)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job, and the tokenizers."""
        return JobCost.small(self.step, sizes.vocabulary * TOKENIZER_BYTES)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the kept tokens, then the record.

        Raises:
            BadInputError: the kept tokens cannot spell the counted texts, or a prompt no longer fits the model.
        """
        identity, sizes, lines = self.identity, model_sizes(self.variant.model), self.texts.read(store)
        if isinstance(self.texts, CheckpointTokens):
            scores, kept = dict[int, int](), self.texts.kept()
        else:
            counted, kept = counted_and_kept(self.variant.model, lines, self.choice)
            scores = dict(counted)
        columns = {"token_id": kept, "score": [scores.get(number, 0) for number in kept]}
        artefact = store.write_table(f"vocabulary/{identity.id}.parquet", columns, SCHEMA)
        folder = in_place_folder(identity.contents, artefact, self.variant.model, kept)
        if lines and self.choice.score != "random":
            check_spelled(self.variant.model, folder, kept, lines)
        self._require_prompts(folder)
        row: Row = {
            "variant_id": identity.id,
            "n_tokens": sizes.n_tokens,
            "n_kept": len(kept),
            "n_required": len(sizes.required),
            "n_counted": len(scores),
            "n_weights": sizes.n_weights,
            "n_removed_weights": sizes.n_removed_weights(len(kept)),
        }
        rows = {**self._variant_rows(store), "vocabularies": [row]}
        store.write_record(identity.record(artefacts=(artefact,), rows=rows))

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, JobCost]) -> Iterable[PlanLine]:
        """One line per choice of tokens; equal ones are counted."""
        lines = Counter(one.plan_line(planned.store) for one in planned.jobs)
        return [PlanLine("model", line if n == 1 else f"{line}; {n} variants") for line, n in lines.items()]

    def plan_line(self, store: Store) -> str:
        """Describe the kept tokens, the removed weights, as bounds until the tokens are chosen, and the export."""
        sizes, record, size = model_sizes(self.variant.model), store.read_record(*self.identity.key), self.choice.size
        n_kept, n_most, of_tokens, of_weights = sizes.n_least, sizes.n_tokens, "at least ", "at most "
        if record is not None:
            n_kept = n_most = as_int(record.rows["vocabularies"][0]["n_kept"])
            of_tokens = of_weights = ""
        elif size is not None:
            n_kept, n_most, of_tokens, of_weights = size, size, "at most ", "at least "
        keeps = " ".join(parameter_words(dict(self.variant.settings)))
        share = sizes.n_removed_weights(n_kept) / sizes.n_weights
        return (
            f"vocabulary {keeps}: {of_tokens}{n_kept:,} of {sizes.n_tokens:,} tokens stay, {of_weights}{share:.1%} of "
            f"all weights go; an export holds at most {format_size(sizes.export_bytes(n_most))} of rows in memory"
        )

    def _require_prompts(self, folder: Path) -> None:
        """Check that the evaluations' texts fit the model, because they can have more tokens than before."""
        model = replace(self.variant.model, path=str(folder))
        try:
            for task in dict.fromkeys(map(as_run, self.tasks)):
                prepared_task(task, model, self.batch_tokens)
        except TaskFileError as err:
            expected = "more kept tokens, or an evaluation with longer: skip"
            raise BadInputError(err.message, {**err.context, "vocabulary": self.variant.id, "next": expected}) from err

    def _variant_rows(self, store: Store) -> dict[str, list[Row]]:
        own: Row = {"variant_id": self.variant.id}
        links: list[Row] = [
            {**own, "demonstration_set_id": set_id, "role": VOCABULARY, "weight": 1.0} for _, set_id in self.texts.needs
        ]
        if self.variant.parent.is_dense:
            rows = {"variants": [variant_row(self.variant, achieved=0.0)]}
        else:
            parent = store.require(*self.variant.parent.identity.key)
            row = variant_row(self.variant, achieved=0.0)
            columns = {name: row[name] for name in ("intervention", "intervention_parameters")}
            rows = rows_of_parent(self.variant.id, parent, role=ALL_TOKENS, columns=columns)
        if links:
            rows["variant_demonstrations"] = [*rows.get("variant_demonstrations", []), *links]
        return rows


@dataclass(frozen=True, kw_only=True)
class PlannedVocabulary(PlannedVariant):
    """A variant with a smaller vocabulary. Its parent has all tokens."""

    spec: VocabularyVariant
    is_baseline: ClassVar[bool] = True
    texts: Counted
    choice: TokenChoice
    measured: MeasuredTexts
    """Kept languages, then dropped ones that the recipe evaluates."""
    n_kept: int
    """Number of kept languages; 0 for the tokens of a checkpoint."""
    batch_tokens: int

    def intervention(self, task: TaskSpec) -> Intervention | None:
        """Evaluate with the smaller vocabulary."""
        return SmallerVocabulary(self.id)

    def jobs(self, tasks: Sequence[TaskSpec]) -> list[Job]:
        """The job that chooses the tokens, and the measurement of the cost."""
        job = VocabularyJob(self.spec.identity, self.spec, self.texts, self.choice, tuple(tasks), self.batch_tokens)
        return [job, self._cost_job()] if self.n_kept else [job]

    def _cost_job(self) -> VocabularyCostJob:
        measured, corpus = self.measured, open_corpus(self.measured.corpus)
        parameters: dict[str, JsonValue] = {
            "languages": list(measured.languages),
            "lines": list(measured.lines),
            **computed_parameters(self.spec.model, batch_tokens=self.batch_tokens),
        }
        contents = {"texts": digest([corpus.content(language) for language in measured.languages])}
        identity = make_identity("tokenizations", parameters, parents={"variant": self.id}, contents=contents)
        return VocabularyCostJob(
            identity,
            self.spec.model,
            measured.corpus,
            measured.lines,
            measured.languages,
            self.n_kept,
            batch_tokens=self.batch_tokens,
        )


def add_vocabularies(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants and those with smaller vocabularies; see `with_derived`.

    Their entries have `keep`, or a checkpoint with fewer tokens.

    Raises:
        CorpusError: the corpus lacks a language.
        RecipeError: the tokenizer cannot be trimmed, or no line is left to count or to measure.
    """
    recipe, inputs = planned.recipe, planned.inputs
    adopted = {entry.adopt: _checkpoint_tokens(recipe, inputs, entry.adopt) for entry in recipe.variants if entry.adopt}

    def tokens_of(entry: VariantConfig) -> CheckpointTokens | None:
        return adopted.get(entry.adopt or "")

    def derive(entry: VariantConfig, parent: PlannedVariant) -> Iterator[PlannedVariant]:
        tokens = tokens_of(entry)
        if entry.keep is not None:
            yield _kept_vocabulary(planned, parent, entry.name, entry.keep)
        else:
            assert tokens is not None, "the entry keeps tokens"
            choice, measured = TokenChoice(size=len(tokens.kept())), MeasuredTexts(inputs.corpus_ref, (), ())
            yield _planned_vocabulary(planned, parent, tokens, choice=choice, measured=measured)

    return with_derived(variants, lambda entry, _: entry.keep is not None or tokens_of(entry) is not None, derive)


def _checkpoint_tokens(recipe: Recipe, inputs: Inputs, name: str) -> CheckpointTokens | None:
    """Return the tokens of a checkpoint that has fewer than the base model."""
    base, folder = inputs.model.path, checkpoint_folder(recipe, name)
    if kept_tokens(Path(base), folder) is None:
        return None
    source = str(dict(origin_of(folder))["source"])
    return CheckpointTokens(base, str(folder), source, digest(checkpoint_content(folder)))


def _planned_vocabulary(
    planned: Planned,
    parent: PlannedVariant,
    texts: Counted,
    *,
    choice: TokenChoice,
    measured: MeasuredTexts,
    kept: Sequence[str] = (),
) -> PlannedVocabulary:
    """Plan a variant that keeps some tokens.

    Args:
        kept: languages whose texts determine them; empty for the tokens of a checkpoint. Costs are then not measured.
    """
    inputs = planned.inputs
    keeps: JsonObject = {"keeps": " ".join(kept)} if kept else {}
    settings = {**keeps, **texts.settings, **without_defaults(choice)}
    keep = {"keeps": settings.get("keeps"), **without_defaults(choice)}
    parameters: JsonObject = {"intervention": VOCABULARY, "keep": keep, **texts.parameters}
    parents: JsonObject = {"base_model": inputs.base.id}
    if parent.is_dense:
        parameters = {**parameters, "sparsity": 0}
    else:
        parents = {**parents, ALL_TOKENS: parent.id}
    if texts.needs:
        parents = {**parents, "demonstration_sets": [set_id for _, set_id in texts.needs]}
    contents = {**texts.contents, "tokenizer": inputs.tokenizer_content}
    identity = make_identity("variants", parameters, parents=parents, contents=contents)
    return PlannedVocabulary(
        spec=VocabularyVariant(identity, inputs.model, parent.spec, tuple(settings.items())),
        parents=(parent,),
        texts=texts,
        choice=choice,
        measured=measured,
        n_kept=len(kept),
        batch_tokens=inputs.model.batch_tokens(planned.recipe.compute),
    )


def _kept_vocabulary(planned: Planned, parent: PlannedVariant, name: str | None, keep: KeepConfig) -> PlannedVocabulary:
    recipe, inputs = planned.recipe, planned.inputs
    choice = TokenChoice(keep.score, keep.at_least, keep.share, keep.size, keep.seed)
    texts, measured = planned_texts(recipe, inputs, keep, planned.sets.default)
    try:
        sizes = model_sizes(inputs.model)
        if keep.size is not None:
            sizes.require_size(keep.size)
        if not sizes.spells_all and isinstance(texts, CountedTexts):
            _check_choice(inputs.model, texts, choice)
    except BadInputError as err:
        raise RecipeError(err.message, {**err.context, "variant": name, "key": "keep"}) from err
    evaluated = [language for one in recipe.evaluations for language in one.languages]
    others = [language for language in evaluated if language not in measured.languages]
    languages = (*measured.languages, *languages_in(measured.corpus, others))
    all_measured, kept = replace(measured, languages=languages), measured.languages
    return _planned_vocabulary(planned, parent, texts, choice=choice, measured=all_measured, kept=kept)


def _check_choice(model: ModelRef, texts: CountedTexts, choice: TokenChoice) -> None:
    """Check that a choice with a limit spells the counted lines; the result is cached.

    Raises:
        BadInputError: it does not.
    """
    if choice.score == "random" or (choice.at_least, choice.share, choice.size) == (None, None, None):
        return

    def checked() -> dict[str, bool]:
        kept = counted_and_kept(model, texts.lines, choice)[1]
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_in_place(model, folder, kept)
            check_spelled(model, folder, kept, texts.lines)
        return {"is_spelled": True}

    key = digest([texts.contents, list(texts.left_out), without_defaults(choice)])
    cached_metadata(Path(model.path), f"spelling {key}", checked)
