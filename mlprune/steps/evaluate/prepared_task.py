"""Items of a task, tokenised and divided into batches once for all variants; they stay in memory."""

from functools import cache
from pathlib import Path
from typing import cast

from mlprune.errors import TaskFileError
from mlprune.evaluation.scoring.candidates import PreparedTask, prepare
from mlprune.evaluation.scoring.translation import PreparedTranslation, prepare_translation
from mlprune.evaluation.tasks.items import ChoiceItem, TranslationItem
from mlprune.evaluation.tasks.task_files import Item
from mlprune.models.loading import load_tokenizer
from mlprune.steps.evaluate.shots import shot_lines, shot_text
from mlprune.steps.evaluate.task_items import as_run, task_data
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.job import ModelRef


def prepared_task(spec: TaskSpec, model: ModelRef, batch_tokens: int) -> PreparedTask | PreparedTranslation:
    """Tokenise the items and divide them into batches, for all variants and rules.

    Raises:
        TaskFileError: a text does not fit the model's positions, if that is refused.
    """
    return _prepared_task(as_run(spec), model, batch_tokens)


@cache
def _prepared_task(spec: TaskSpec, model: ModelRef, batch_tokens: int) -> PreparedTask | PreparedTranslation:
    data = task_data(spec)
    try:
        return _tokenised(spec, data.items, model, batch_tokens)
    except TaskFileError as err:
        place = {"task": spec.task, "language": spec.language, "split": spec.split, "file": data.path}
        raise TaskFileError(err.message, {**place, **err.context}) from err


def _tokenised(
    spec: TaskSpec, items: tuple[Item, ...], model: ModelRef, batch_tokens: int
) -> PreparedTask | PreparedTranslation:
    tokenizer = load_tokenizer(Path(model.path))
    if spec.definition.reads != "pairs":
        choices = cast("tuple[ChoiceItem, ...]", items)
        return prepare(
            tokenizer,
            choices,
            batch_tokens=batch_tokens,
            max_positions=model.max_positions,
            device=model.device,
            longer=spec.longer,
        )
    source, target = (shot_text(spec).lines(side) for side in spec.sides)
    return prepare_translation(
        tokenizer,
        cast("tuple[TranslationItem, ...]", items),
        shots=[(source[line], target[line]) for line in shot_lines(spec)],
        source=spec.sides[0],
        target=spec.sides[1],
        batch_tokens=batch_tokens,
        max_positions=model.max_positions,
        max_new_tokens=spec.max_new_tokens,
        longer=spec.longer,
    )
