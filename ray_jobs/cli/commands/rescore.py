"""`mlprune rescore` and `mlprune query ranks`: new results from stored evaluations, without running a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from catalog.ranking import NOTE, rank_variants
from catalog.store import Catalog
from catalog.stored_names import find_variant
from mlprune.errors import BadInputError, unknown
from mlprune.given_files import read_given_text
from mlprune.store.repair import quarantine_on_damage
from mlprune.vocabulary import RuleName
from ray_jobs.cli import options
from ray_jobs.cli.known_words import complete_language, complete_task, complete_variant

if TYPE_CHECKING:
    from mlprune.steps.rescore.rescore import Rescored

RULES: tuple[RuleName, ...] = get_args(RuleName)


def rescore(
    *,
    store: options.StoreOption,
    rule: Annotated[str | None, typer.Option(help=f"New scoring rule: {', '.join(RULES)}.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Compute this metric instead of the task's own; repeatable.")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="File with the ids of the examples to use, one per line.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only evaluations of this task; repeatable.", autocompletion=complete_task)
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Only evaluations in this language or language pair.", autocompletion=complete_language),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only evaluations of this split.")] = None,
    variant: Annotated[
        str | None,
        typer.Option(help="Only evaluations of this variant: a label, name or id.", autocompletion=complete_variant),
    ] = None,
    from_rule: Annotated[str | None, typer.Option(help="Only evaluations made with this scoring rule.")] = None,
) -> None:
    """Recompute stored evaluations with another rule or metric.

    The scoring rule, the metrics or the examples can change. No model is run. The new evaluations have new ids and are
    compared in the same way as the old ones.

    Example: mlprune rescore --store runs/ --rule candidate_mean --task xnli
    """
    from mlprune.steps.rescore.rescore import Change, Selection  # noqa: PLC0415 - these load torch
    from mlprune.steps.rescore.rescore import rescore as rescore_store  # noqa: PLC0415
    from ray_jobs.driver.run_log import recorded_run  # noqa: PLC0415

    change = Change(_scoring_rule(rule), tuple(metric or ()), None if examples is None else _read_ids(examples))
    stored = options.existing_store(store)
    stored.require_writable()
    variant_id = None if variant is None else find_variant(stored, variant)
    selection = Selection(task, language, split, variant_id, _scoring_rule(from_rule))
    with recorded_run(stored, "rescore") as opened, quarantine_on_damage(opened):
        result = rescore_store(opened, change, selection)
    for evaluation_id in result.evaluation_ids:
        options.echo(evaluation_id)
    options.echo(_format_summary(result), err=True)


def ranks(
    *,
    store: options.StoreOption,
    task: Annotated[
        list[str],
        typer.Option(help="Task whose languages are the data sets; repeatable.", autocompletion=complete_task),
    ],
    metric: Annotated[str, typer.Option(help="Metric to rank by.")] = "accuracy",
    split: Annotated[str, typer.Option(help="Split to take the values from.")] = "test",
    rule: Annotated[str | None, typer.Option(help="Scoring rule; default: the task's own.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="protocol_id of the evaluations; default: the standard protocol.")
    ] = None,
    format_: options.FormatOption = "table",
    wide: options.WideOption = False,
    digits: options.DigitsOption = None,
) -> None:
    """Rank variants over several data sets: average ranks, and Friedman's test in the form of Iman and Davenport.

    The ranks describe, they do not test: the languages of a task share their items. For tests of a variant over
    languages see the view `aggregates`.

    Example: mlprune query ranks --store runs/ --task xnli --task xcopa
    """
    with Catalog.open(options.existing_store(store)) as catalog:
        catalog.fold()
        result = rank_variants(catalog, task, metric=metric, split=split, scoring_rule=rule, protocol_id=protocol)
        wanted = options.ResultFormat(format_, options.layout_of(wide=wide), digits=digits)
        options.echo(options.format_result(catalog, result, wanted))
    options.echo(NOTE, err=True)


def _scoring_rule(name: str | None) -> RuleName | None:
    """Check the name of a scoring rule.

    Raises:
        BadInputError: the name is unknown.
    """
    if name is None:
        return None
    for rule in RULES:
        if rule == name:
            return rule
    raise unknown("scoring rule", name, RULES, error=BadInputError)


def _read_ids(path: Path) -> frozenset[str]:
    """Read example ids from a file, one per line.

    Raises:
        BadInputError: the file cannot be read, or is empty.
    """
    try:
        lines = read_given_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise BadInputError("cannot read the file of example ids", path=str(path), reason=str(err)) from err
    ids = frozenset(line.strip() for line in lines if line.strip())
    if not ids:
        raise BadInputError("the file of example ids is empty", path=str(path), expected="one id per line", got=0)
    return ids


def _format_summary(result: "Rescored") -> str:
    text = f"{len(result.evaluation_ids)} evaluations, {result.n_new} of them new; {result.n_compared} new comparisons"
    if result.n_too_old:
        text += f"; {result.n_too_old} evaluations are of an older version and were skipped"
    return text
