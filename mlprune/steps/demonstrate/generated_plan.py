"""Plan a set of texts that the model writes itself: one demonstration per text."""

from pathlib import Path

from mlprune.corpus.templates import fill_template
from mlprune.errors import RecipeError
from mlprune.models.loading import load_tokenizer
from mlprune.recipe import DemonstrationConfig, Recipe
from mlprune.recipe.demonstrations import DEFAULT_PROMPT
from mlprune.steps.demonstrate.generation import GenerateJob, GenerationSpec, prompt_ids
from mlprune.steps.demonstrate.jobs import DemonstrateJob
from mlprune.steps.demonstrate.source_texts import SetSpec, numbered_texts
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import computed_parameters, make_identity


def filled_prompt(entry: DemonstrationConfig) -> str:
    """Return the prompt of a generated set, with the names of its language.

    Raises:
        CorpusError: the prompt has an unknown placeholder, or the language has no such name.
    """
    prompt = DEFAULT_PROMPT if entry.prompt is None else entry.prompt
    return fill_template(prompt + "{text}", "", language=entry.language, end="")


def generated_jobs(
    entry: DemonstrationConfig, spec: SetSpec, recipe: Recipe, inputs: Inputs
) -> tuple[GenerateJob, DemonstrateJob]:
    """Return the job that writes the texts, and the one that makes demonstrations of them.

    Raises:
        CorpusError: the template is wrong.
        RecipeError: the prompt leaves no room for a text.
    """
    assert spec.source is not None, "a generated set has a language"
    assert spec.prompt is not None, "a generated set has a prompt"
    assert spec.temperature is not None, "a generated set has a temperature"
    numbered_texts(spec, ())  # checks the template
    model = inputs.model
    n_prompt = len(prompt_ids(load_tokenizer(Path(model.path)), spec.prompt))
    if n_prompt >= spec.max_tokens:
        expected = f"max_tokens above {n_prompt}"
        message = "a prompt leaves no room for a text"
        raise RecipeError(message, demonstrations=entry.name, expected=expected, got=spec.max_tokens)
    generation = GenerationSpec(
        spec.source, spec.prompt, spec.temperature, seed=spec.seed, n_texts=spec.samples, max_tokens=spec.max_tokens
    )
    batch_tokens = recipe.compute.planned_batch_tokens(model.device)
    parameters = {**generation.parameters, **computed_parameters(model, batch_tokens=batch_tokens)}
    contents = {"tokenizer": inputs.tokenizer_content}
    base = {"base_model": model.base_model_id}
    written = make_identity("generated_texts", parameters, parents=base, contents=contents)
    texts = {"generated_texts": written.id}
    identity = make_identity("demonstration_sets", spec.parameters, parents=texts, contents=contents)
    generate = GenerateJob(written, model, generation, batch_tokens=batch_tokens)
    return generate, DemonstrateJob(identity, model, inputs.corpus_ref, spec, written.id)
