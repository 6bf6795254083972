"""`mlprune rescore --generated`: whether generated texts are in the language that their prompt names."""

from typing import Annotated

import typer

from mlprune.errors import BadInputError
from mlprune.store.repair import quarantine_on_damage
from ray_jobs.cli import options
from ray_jobs.cli.known_words import complete_language

OfEvaluations = Annotated[str | None, typer.Option(hidden=True)]
"""An option of `rescore` that selects or changes evaluations."""


def rescore(
    *,
    store: options.StoreOption,
    metric: Annotated[list[str] | None, typer.Option(help="Compute this metric instead of all; repeatable.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Only texts in this language.", autocompletion=complete_language)
    ] = None,
    rule: OfEvaluations = None,
    examples: OfEvaluations = None,
    task: OfEvaluations = None,
    split: OfEvaluations = None,
    variant: OfEvaluations = None,
    from_rule: OfEvaluations = None,
) -> None:
    """Compute pass rates of the texts that the dense model wrote for demonstrations of kind generated.

    No model is run.

    Example: mlprune rescore --generated --store runs/ --metric line_pass_rate
    """
    from mlprune.capabilities.generation.pass_rates import rate_generated_texts  # noqa: PLC0415 - these load torch
    from ray_jobs.driver.run_log import recorded_run  # noqa: PLC0415

    unused = {"rule": rule, "examples": examples, "task": task, "split": split, "variant": variant}
    for option, value in {**unused, "from-rule": from_rule}.items():
        if value is not None:
            expected = "--metric and --language only"
            raise BadInputError("an option does not apply to generated texts", expected=expected, got=f"--{option}")
    stored = options.existing_store(store)
    stored.require_writable()
    with recorded_run(stored, "rescore") as opened, quarantine_on_damage(opened):
        result = rate_generated_texts(opened, tuple(metric or ()), language=language)
    for record_id in result.record_ids:
        options.echo(record_id)
    options.echo(f"{len(result.record_ids)} sets of generated texts, {result.n_new} of them new", err=True)
