"""Variants with a smaller vocabulary: plan them, choose their tokens, and evaluate them in place.

In place, texts are tokenised with the trimmed tokenizer, whose tokens keep their ids, and removed tokens get no
probability. An export has the same tokens with new ids, and no rows for the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from mlprune.cache_folders import user_cache_folder
from mlprune.errors import BadInputError, CorpusError, RecipeError
from mlprune.evaluation.scoring.candidates import PreparedTask
from mlprune.evaluation.scoring.translation import PreparedTranslation
from mlprune.hashing import digest, ordered_by_hash, without_defaults
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.chain import Chain
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.loading import load_tokenizer
from mlprune.recipe import CorpusConfig, Recipe
from mlprune.recipe.analyses import KeepConfig
from mlprune.steps.evaluate.model_evaluation import evaluated_lines
from mlprune.steps.inputs import Inputs, open_corpus, text_ref
from mlprune.steps.job import (
    ChainLoader,
    Job,
    ModelRef,
    RecordKey,
    SmallJob,
    computed_parameters,
    make_identity,
)
from mlprune.steps.prune.requested_variants import with_entry
from mlprune.steps.tasks.evaluation import Intervention, prepared_task
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant import InterventionVariant, VariantSpec, variant_row
from mlprune.steps.variants.variant_text import parameter_words
from mlprune.steps.vocabulary.cost import VocabularyCostJob
from mlprune.steps.vocabulary.stored import removed_mask, tokenizer_folder, without_tokens, write_in_place
from mlprune.store.store import Store
from mlprune.trimming.folder import read_tokenizer, required_tokens, vocabulary_tensors
from mlprune.trimming.kept_tokens import TokenChoice, chosen_tokens, encoded, require_spelled, token_scores

VOCABULARY: Final = "vocabulary"
SCHEMA = {"token_id": "int32", "score": "int64"}
"""Columns of a file of kept tokens, ascending; score is 0 for tokens that no counted text has."""
MEASURED_SHARE, MOST_MEASURED = 5, 400
"""One line in five is measured and not counted, and at most 400 lines are."""


@dataclass(frozen=True)
class CountedTexts:
    """The lines of some languages in which tokens are counted, and those in which the cost is measured."""

    corpus: CorpusConfig
    languages: tuple[str, ...]
    left_out: tuple[int, ...] = ()
    """Lines that are not counted, because they are measured or evaluated."""

    @cached_property
    def lines(self) -> dict[str, list[str]]:
        """Language -> counted lines."""
        corpus, left_out = open_corpus(self.corpus), set(self.left_out)
        return {
            language: [line for number, line in enumerate(corpus.lines(language)) if number not in left_out]
            for language in self.languages
        }


def measured_lines(corpus: CorpusConfig, language: str) -> tuple[int, ...]:
    """Return the lines of the recipe's corpus in which costs are measured, ascending."""
    n_lines = len(open_corpus(corpus).lines(language))
    n_measured = min(MOST_MEASURED, max(1, n_lines // MEASURED_SHARE))
    return tuple(sorted(ordered_by_hash(0, range(n_lines))[:n_measured]))


@dataclass(frozen=True)
class SmallerVocabulary:
    """Evaluate a variant with its tokenizer, and without removed tokens."""

    variant_id: str

    @property
    def parents(self) -> JsonObject:
        """None: the variant is a parent of each of its evaluations."""
        return {}

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variant."""
        return (("variants", self.variant_id),)

    @contextmanager
    def active(self, chain: Chain, store: Store) -> Iterator[None]:
        """Give removed tokens no probability."""
        with without_tokens(chain, removed_mask(store, store.require("variants", self.variant_id))):
            yield

    def prepared(
        self, store: Store, task: TaskSpec, model: ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the items of the task, tokenised with the tokens of the variant."""
        folder = tokenizer_folder(store, store.require("variants", self.variant_id), model)
        return prepared_task(task, replace(model, path=str(folder)), batch_tokens)


@dataclass(frozen=True)
class VocabularyJob(SmallJob):
    """Count tokens, choose those that a variant keeps, and write its record."""

    step: ClassVar[str] = "prune"
    variant: InterventionVariant
    texts: CountedTexts
    choice: TokenChoice

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The base model."""
        return (("base_models", self.identity.parents["base_model"]),)  # type: ignore[return-value]

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the kept tokens, then the record.

        Raises:
            BadInputError: the tokenizer cannot be trimmed, or the kept tokens cannot spell the counted texts.
        """
        base = Path(self.variant.model.path)
        tokenizer = load_tokenizer(base)
        source = read_tokenizer(tokenizer)
        tensors = vocabulary_tensors(base)
        n_rows = next(iter(tensors.values()))
        scores = token_scores(tokenizer, self.texts.lines, score=self.choice.score)
        required = required_tokens(source, base, n_rows=n_rows)
        kept = sorted(chosen_tokens(source, scores, self.choice, required=required))
        identity = self.identity
        folder = user_cache_folder() / "tokenizers" / f"{identity.id}-{digest(kept)[:12]}"
        if not folder.exists():
            write_in_place(base, folder, kept)
        if self.choice.score != "random":
            trimmed = load_tokenizer(folder)
            require_spelled(source, kept, {name: encoded(trimmed, of) for name, of in self.texts.lines.items()})
        columns = {"token_id": kept, "score": [scores.get(number, 0) for number in kept]}
        artefact = store.write_table(f"vocabulary/{identity.id}.parquet", columns, SCHEMA)
        n_weights, n_removed = _sizes(base, tensors, n_kept=len(kept))
        row: dict[str, JsonValue] = {
            "variant_id": identity.id,
            "n_tokens": n_rows,
            "n_kept": len(kept),
            "n_required": len(required),
            "n_counted": len(scores),
            "n_weights": n_weights,
            "n_removed_weights": n_removed,
        }
        rows = {"variants": [variant_row(self.variant, achieved=0.0)], "vocabularies": [row]}
        store.write_record(identity.record(artefacts=(artefact,), rows=rows))


def _sizes(base: Path, tensors: Mapping[str, int], *, n_kept: int) -> tuple[int, int]:
    """Return the number of weights in the files of a model, and how many belong to removed tokens."""
    files = WeightFiles(base, architecture_at(base))
    sizes = {name: torch.Size(files.shape(name)).numel() for name in files.names}
    return sum(sizes.values()), sum(sizes[name] // n * (n - n_kept) for name, n in tensors.items() if name in sizes)


@dataclass(frozen=True)
class VocabularyBaseline:
    """A planned variant with a smaller vocabulary."""

    texts: CountedTexts
    choice: TokenChoice
    measured: CountedTexts
    """Kept languages, then dropped ones that the recipe evaluates; `left_out` are the lines that are measured."""
    batch_tokens: int

    @property
    def label(self) -> str:
        """The kept languages and the choice, as text."""
        return " ".join((VOCABULARY, *parameter_words(self.settings)))

    @property
    def settings(self) -> dict[str, JsonValue]:
        """The kept languages, and the settings of the choice that are not at their defaults."""
        return {"keeps": " ".join(self.texts.languages), **without_defaults(self.choice)}

    def spec(self, inputs: Inputs) -> InterventionVariant:
        """Describe the variant."""
        corpus = open_corpus(self.texts.corpus)
        parameters: dict[str, JsonValue] = {
            "intervention": VOCABULARY,
            "sparsity": 0,
            "keep": self.settings,
            "left_out": list(self.texts.left_out),
        }
        contents = {
            "texts": digest([corpus.content(language) for language in self.texts.languages]),
            "tokenizer": inputs.tokenizer_content,
        }
        identity = make_identity("variants", parameters, parents={"base_model": inputs.base.id}, contents=contents)
        return InterventionVariant(identity, inputs.model, VOCABULARY, tuple(self.settings.items()))

    def intervention(self, variant: VariantSpec, task: TaskSpec) -> Intervention | None:
        """Evaluate with the smaller vocabulary."""
        return SmallerVocabulary(variant.id)

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """The job that chooses the tokens, and the measurement of the cost."""
        assert isinstance(variant, InterventionVariant), "the spec of this baseline"
        return [VocabularyJob(variant.identity, variant, self.texts, self.choice), self._cost_job(variant)]

    def _cost_job(self, variant: InterventionVariant) -> VocabularyCostJob:
        corpus, languages = open_corpus(self.measured.corpus), self.measured.languages
        parameters: dict[str, JsonValue] = {
            "languages": list(languages),
            "lines": list(self.measured.left_out),
            **computed_parameters(variant.model, batch_tokens=self.batch_tokens),
        }
        contents = {"texts": digest([corpus.content(language) for language in languages])}
        identity = make_identity("tokenizations", parameters, parents={"variant": variant.id}, contents=contents)
        return VocabularyCostJob(
            identity,
            variant.model,
            self.measured.corpus,
            self.measured.left_out,
            languages,
            len(self.texts.languages),
            batch_tokens=self.batch_tokens,
        )


def planned_vocabulary(recipe: Recipe, inputs: Inputs, keep: KeepConfig) -> VocabularyBaseline:
    """Plan the variant of an entry.

    Raises:
        CorpusError: the corpus lacks a language.
        RecipeError: no line is left to count.
        BadInputError: the tokenizer of the model cannot be trimmed.
    """
    try:
        read_tokenizer(load_tokenizer(Path(inputs.model.path)))
    except BadInputError as err:
        raise RecipeError(err.message, {**err.context, "key": "structure: vocabulary"}) from err
    languages = tuple(dict.fromkeys(keep.languages))
    choice = TokenChoice(keep.score, keep.at_least, keep.share, keep.size, keep.seed)
    measured = measured_lines(inputs.corpus_ref, languages[0])
    if keep.corpus is not None:
        texts = CountedTexts(text_ref(recipe.resolve(keep.corpus), None), languages)
    else:
        left_out = tuple(sorted({*measured, *evaluated_lines(recipe, inputs)}))
        texts = CountedTexts(inputs.corpus_ref, languages, left_out)
    if not all(texts.lines.values()):
        message = "no line is left in which tokens can be counted: all are evaluated or measured"
        raise RecipeError(message, key="keep.corpus", next="name another corpus", languages=languages)
    evaluated = [language for entry in recipe.evaluations for language in entry.languages]
    others = [language for language in dict.fromkeys(evaluated) if language not in languages]
    of_cost = CountedTexts(inputs.corpus_ref, (*languages, *filter(_is_in(inputs.corpus_ref), others)), measured)
    batch_tokens = inputs.model.batch_tokens(recipe.compute)
    return VocabularyBaseline(texts, choice, of_cost, batch_tokens)


def _is_in(ref: CorpusConfig) -> Callable[[str], bool]:
    """Return whether a corpus has a language."""

    def is_in(language: str) -> bool:
        try:
            return bool(open_corpus(ref).lines(language))
        except CorpusError:
            return False

    return is_in


def add_vocabularies(
    recipe: Recipe, inputs: Inputs, planned: Mapping[str, PlannedVariant]
) -> dict[str, PlannedVariant]:
    """Return the planned variants and those with smaller vocabularies."""
    together: dict[str, Any] = dict(planned)
    for entry in recipe.variants:
        if entry.keep is not None:
            baseline = planned_vocabulary(recipe, inputs, entry.keep)
            together = with_entry(together, entry, [PlannedVariant(baseline.spec(inputs), baseline=baseline)])
    return together
