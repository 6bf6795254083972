"""The commands of the command line, their groups and forms, and deprecated names."""

from collections.abc import Mapping
from typing import NamedTuple

from mlprune import capabilities
from mlprune.deprecation import Deprecated

OF_CAPABILITIES = "ray_jobs.capabilities."
"""Beginning of the names of modules with commands of capabilities."""
GROUPS: Mapping[str, str] = {
    "check": "Check this machine, data, a model, a store or a variant.\n\nExample: mlprune check store --store runs/",
    "store": "Maintain the files of a store.\n\nExample: mlprune store compact --store runs/",
}
"""Group of commands -> its help text."""
FORM_OPTIONS: Mapping[str, str] = {
    "--web": "Serve a page in the browser that follows the runs.",
    "--figures": "Write figures for a publication.",
    "--tables": "Write tables for a publication.",
    "--notebook": "Write a notebook and open it.",
    "--as": "Format, folder by default: a model folder.",
    "--results": "Import results of lm-evaluation-harness.",
    "--scores": "Import scores of stored outputs.",
    "--generated": "Instead of evaluations, the language of generated texts.",
}
"""Option that chooses a form -> its help."""
_MOVED = {"--model": "--base-model"}
WITH_OLD_OUT = frozenset({"export", "import", "apply"})
"""Commands whose last argument was the output before `--out`."""
OF_0_2 = Deprecated("0.3", "1.2")
"""When names and arguments of version 0.2 are removed."""


class Form(NamedTuple):
    """Another function of a command, which words on the command line choose."""

    function: str
    """`module:function`; the module is below `ray_jobs.cli.commands`, or `ray_jobs.capabilities.NAME` or below it."""
    chosen: Mapping[str, str] = {}
    """Parameter of the function -> its value, which the words determine."""


class CommandSource(NamedTuple):
    """Where a command is defined."""

    function: str
    """As in `Form`."""
    summary: str
    """First sentence of its help; at most 60 characters, so that a line of the list is not cut."""
    forms: Mapping[str, Form] = {}
    """A word, a flag, or an option with a value -> the form that it chooses."""


COMMANDS: Mapping[str, CommandSource] = {
    "demo": CommandSource("demo:demo", "Run the built-in example from recipe to report."),
    "plan": CommandSource("plan:plan", "Show what a recipe would run, and what it needs."),
    "run": CommandSource("run:run", "Run a recipe."),
    "status": CommandSource(
        "status:status",
        "Show the progress of active runs and how earlier runs ended.",
        {"--web": Form("ray_jobs.capabilities.live:serve")},
    ),
    "query": CommandSource(
        "query:query",
        "Query the catalog with SQL or with a built-in query.",
        {"ranks": Form("rescore:ranks")},
    ),
    "report": CommandSource(
        "report:report",
        "Write an HTML report, or figures, tables or a notebook.",
        {
            "--figures": Form("report:figures"),
            "--tables": Form("ray_jobs.capabilities.tables:tables"),
            "--notebook": Form("ray_jobs.capabilities.notebook:notebook"),
        },
    ),
    "rescore": CommandSource(
        "rescore:rescore",
        "Recompute stored evaluations with another rule or metric.",
        {"--generated": Form("ray_jobs.capabilities.generation:rescore")},
    ),
    "export": CommandSource(
        "ray_jobs.capabilities.publishing:export",
        "Write variants or results in a format that others read.",
        {
            "--as folder": Form("ray_jobs.capabilities.publishing:export"),
            "--as compressed_tensors": Form("ray_jobs.capabilities.publishing:packed"),
            "--as masks": Form("ray_jobs.capabilities.publishing:publish"),
            "--as patches": Form("ray_jobs.capabilities.publishing:patches"),
            "--as imatrix": Form("ray_jobs.capabilities.publishing:imatrix"),
            "--as every_eval_ever": Form("ray_jobs.capabilities.harness.share:export", {"format_": "every_eval_ever"}),
            "--as hub": Form("ray_jobs.capabilities.harness.share:export", {"format_": "hub"}),
            "--as row": Form("ray_jobs.capabilities.results:export_row"),
            "--as mlflow": Form("ray_jobs.capabilities.tables:mlflow"),
            "--as parquet": Form("catalog:export", {"format_": "parquet"}),
            "--as csv": Form("catalog:export", {"format_": "csv"}),
            "--as arrow": Form("catalog:export", {"format_": "arrow"}),
        },
    ),
    "import": CommandSource(
        "ray_jobs.capabilities.importing:import_",
        "Import a published checkpoint, or results from elsewhere.",
        {
            "--results": Form("ray_jobs.capabilities.harness.share:import_"),
            "--scores": Form("ray_jobs.capabilities.outside_scores:import_"),
        },
    ),
    "apply": CommandSource(
        "ray_jobs.capabilities.publishing:apply", "Make a pruned model from its base model and published masks."
    ),
    "harness": CommandSource(
        "ray_jobs.capabilities.harness.harness:harness", "Run tasks of lm-evaluation-harness on variants."
    ),
    "methods": CommandSource("methods:methods", "Show the methods of pruning, and which go together."),
    "check machine": CommandSource("doctor:doctor", "Say what this machine, Ray, a store and a recipe lack."),
    "check data": CommandSource(
        "ray_jobs.capabilities.inspection.check_data:check",
        "Show the layout, languages and problems of published data.",
    ),
    "check model": CommandSource(
        "ray_jobs.capabilities.inspection.check_model:check", "Show what of a model can be pruned, before any work."
    ),
    "check store": CommandSource("catalog:check", "Verify every record, artefact, key, view and value."),
    "check variant": CommandSource(
        "verify_variant:verify", "Rebuild a variant's masks and compare them with its record."
    ),
    "store gc": CommandSource("store:gc", "List, or delete, files that no record references."),
    "store compact": CommandSource("store:compact", "Merge the record files of a store into a few segment files."),
    "store merge": CommandSource("catalog:merge", "Copy the records and artefacts of another store."),
    "store rebuild": CommandSource("catalog:rebuild", "Rebuild the catalog file from the records."),
    "completion": CommandSource("completion:completion", "Print or install the completion of a shell."),
}
"""Command as the user types it -> its source, in the order of `mlprune --help`."""


class OldName(NamedTuple):
    """How a name or an option of an earlier version is written now."""

    command: str
    """Words of the command line."""
    options: Mapping[str, str] = {}
    """Old option -> new one; with `=` it includes the value."""
    default: str = ""
    """Words that are added if the command line has none of the new options."""
    deprecated: Deprecated = OF_0_2
    """Since when, and until when, the old name works."""


OLD_NAMES: Mapping[str, OldName] = {
    "serve": OldName("status --web"),
    "doctor": OldName("check machine", {"--json": "--format=json"}),
    "figures": OldName("report --figures"),
    "tables": OldName("report --tables"),
    "notebook": OldName("report --notebook"),
    "ranks": OldName("query ranks"),
    "publish": OldName("export --as masks", {"--to": "--out", **_MOVED}),
    "results export": OldName("export", {"--format": "--as", "--to": "--out"}),
    "results import": OldName("import --results"),
    "catalog export": OldName("export", {"--format": "--as", "--to": "--out"}, default="--as parquet"),
    "catalog mlflow": OldName("export --as mlflow"),
    "catalog check": OldName("check store"),
    "catalog merge": OldName("store merge"),
    "catalog rebuild": OldName("store rebuild"),
    "data check": OldName("check data"),
    "verify": OldName("check variant", _MOVED),
    "gc": OldName("store gc"),
    "harness": OldName("harness", {"--tasks": "--task", **_MOVED}),
    "export": OldName("export", _MOVED),
    "--install-completion": OldName("completion --install"),
    "--show-completion": OldName("completion"),
}
"""Beginning of a command line of an earlier version -> the present one."""


def capability_of(source: Form | CommandSource) -> str:
    """Return the capability that a command or a form of it belongs to; "" for the core."""
    module = source.function.partition(":")[0]
    return module.removeprefix(OF_CAPABILITIES).partition(".")[0] if module.startswith(OF_CAPABILITIES) else ""


def is_installed(source: Form | CommandSource) -> bool:
    """Return whether a command or a form of it belongs to the core or to a capability of `mlprune.capabilities`."""
    return capability_of(source) in ("", *capabilities.NAMES)
