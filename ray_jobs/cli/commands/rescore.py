"""Commands on stored evaluations that run no model: scores and metrics anew, and variants ranked over data sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from mlprune.errors import BadInputError
from mlprune.vocabulary import RuleName

if TYPE_CHECKING:
    from mlprune.steps.evaluate.rescore import Rescored

StoreOption = Annotated[str, typer.Option("--store", help="Folder or object-store URI of the store.")]
TaskOption = Annotated[str | None, typer.Option(help="Only evaluations of this task.")]
SplitOption = Annotated[str | None, typer.Option(help="Only evaluations of this split.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("rescore")(rescore)
    app.command("ranks")(ranks)


def rescore(
    *,
    store: StoreOption,
    rule: Annotated[str | None, typer.Option(help=f"Scoring rule: {', '.join(get_args(RuleName))}.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Metric instead of the task's own; may be repeated.")] = None,
    examples: Annotated[Path | None, typer.Option(help="File of example ids to keep, one a line.")] = None,
    task: TaskOption = None,
    language: Annotated[str | None, typer.Option(help="Only evaluations in this language or pair.")] = None,
    split: SplitOption = None,
    variant: Annotated[str | None, typer.Option(help="Only evaluations of the variant of this id.")] = None,
    from_rule: Annotated[str | None, typer.Option(help="Only evaluations that were made under this rule.")] = None,
) -> None:
    """Compute stored evaluations anew, without a model: under another rule, with other metrics, on some examples.

    The new evaluations have ids of their own, and are compared as the old ones were.

    Example: mlprune rescore --store runs/ --rule candidate_mean --task xnli
    """
    from mlprune.steps.evaluate.rescore import Change, Selection  # noqa: PLC0415 - commands import what they need
    from mlprune.steps.evaluate.rescore import rescore as rescored  # noqa: PLC0415
    from ray_jobs.cli.application import _existing  # noqa: PLC0415
    from ray_jobs.driver.provenance import noted  # noqa: PLC0415

    selection = Selection(task, language, split, variant, _known(from_rule))
    change = Change(_known(rule), tuple(metric or ()), None if examples is None else _ids(examples))
    with noted(_existing(store), "rescore") as opened:
        found = rescored(opened, change, selection)
    for evaluation_id in found.evaluation_ids:
        typer.echo(evaluation_id)
    typer.echo(_in_words(found), err=True)


def ranks(
    *,
    store: StoreOption,
    task: Annotated[list[str], typer.Option(help="Its languages are the data sets; may be repeated.")],
    metric: Annotated[str, typer.Option(help="Metric that is ranked.")] = "accuracy",
    split: Annotated[str, typer.Option(help="Split the values are from.")] = "test",
    rule: Annotated[str | None, typer.Option(help="Scoring rule; the usual one without it.")] = None,
    setup: Annotated[str | None, typer.Option(help="Setup of the evaluations; the usual one without it.")] = None,
    alpha: Annotated[float, typer.Option(help="Level of the critical difference.")] = 0.05,
    format_: Annotated[str, typer.Option("--format", help="table, json or csv.")] = "table",
) -> None:
    """Rank variants over data sets: average ranks, Friedman's test, and Nemenyi's critical difference.

    Example: mlprune ranks --store runs/ --task xnli --task xcopa
    """
    from catalog.queries import render  # noqa: PLC0415 - commands import what they need
    from catalog.ranking import rank_variants  # noqa: PLC0415
    from catalog.store import Catalog  # noqa: PLC0415
    from ray_jobs.cli.application import _existing  # noqa: PLC0415

    with Catalog.open(_existing(store)) as catalog:
        catalog.fold()
        options = {"metric": metric, "split": split, "scoring_rule": rule, "setup": setup}
        found = rank_variants(catalog, task, alpha=alpha, **options)  # type: ignore[arg-type]  # texts and None
        typer.echo(render(found, format_))


def _known(rule: str | None) -> Any:
    """A scoring rule by its name.

    Raises:
        BadInputError: there is none of that name.
    """
    if rule is not None and rule not in get_args(RuleName):
        raise BadInputError("no such scoring rule", expected=get_args(RuleName), got=rule)
    return rule


def _ids(path: Path) -> frozenset[str]:
    """The ids in a file.

    Raises:
        BadInputError: it cannot be read, or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise BadInputError("the file of examples cannot be read", path=str(path), reason=str(err)) from err
    found = frozenset(line.strip() for line in lines if line.strip())
    if not found:
        raise BadInputError("the file of examples is empty", path=str(path), expected="one id a line", got=0)
    return found


def _in_words(found: "Rescored") -> str:
    words = f"{len(found.evaluation_ids)} evaluations, {found.n_new} of them new; {found.n_compared} new comparisons"
    if found.n_too_old:
        words += f"; {found.n_too_old} evaluations are of an older version and were left alone"
    return words
