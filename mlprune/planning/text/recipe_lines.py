"""What a plan says about its recipe: the split of the corpus, ignored keys, and halves that share clusters."""

from mlprune.evaluation.tasks.task_files import CORPUS
from mlprune.languages import pair_languages
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import corpus_ref, open_corpus


def corpus_lines(recipe: Recipe) -> list[str]:
    """One line with the split of the corpus, if its text has splits."""
    config = recipe.corpus
    if config.kind == "cldr":
        return []
    corpus = open_corpus(corpus_ref(recipe))
    chosen = "" if config.split else ", chosen by default"
    return [f"corpus: {config.path}, split {corpus.split}{chosen}"] if corpus.split else []


def recipe_warnings(recipe: Recipe) -> list[str]:
    """One line per score that ignores keys of its entries, and per task whose halves share clusters."""
    ignored: dict[str, set[str]] = {}
    for entry in recipe.variants:
        if entry.score is not None and entry.ignored_keys:
            ignored.setdefault(entry.score, set()).update(entry.ignored_keys)
    return [
        f"warning: score {score} reads no statistics and ignores {', '.join(sorted(keys))}"
        for score, keys in ignored.items()
    ] + [
        f"warning: the halves dev and test of {task} share clusters, so a choice on dev has seen parts of test; "
        "split_by: clusters separates them"
        for task in _tasks_with_shared_clusters(recipe)
    ]


def _tasks_with_shared_clusters(recipe: Recipe) -> list[str]:
    """Return the tasks with both halves of a corpus that has clusters, if a half is drawn from the items."""
    entries: dict[str, list[EvaluationConfig]] = {}
    for entry in recipe.evaluations:
        if entry.path == CORPUS and (entry.task == "facts" or _has_documents(recipe, entry)):
            entries.setdefault(entry.task, []).append(entry)
    return [
        task
        for task, of_task in entries.items()
        if len({entry.split for entry in of_task}) > 1 and any(entry.split_by == "items" for entry in of_task)
    ]


def _has_documents(recipe: Recipe, entry: EvaluationConfig) -> bool:
    """Whether the recipe's corpus states the documents of its sentences."""
    language = (*entry.languages, *(pair_languages(pair)[0] for pair in entry.pairs))[0]
    return bool(open_corpus(corpus_ref(recipe)).documents(language))
