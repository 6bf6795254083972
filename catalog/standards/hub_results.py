"""Hugging Face evaluation results: the files `.eval_results/*.yaml` of one model repository per variant."""

from collections.abc import Sequence
from pathlib import Path

from catalog.standards.evaluated import EvaluatedVariant, data_set_commits
from catalog.standards.request import Request, ResultsExport
from catalog.store import Catalog
from mlprune.steps.publish.eval_results import FOLDER, benchmark_entries, yaml_text

NOT_EXPRESSED = "results that are not accuracies on whole test splits of a data set of the hub"


def write_hub_results(
    catalog: Catalog, variants: Sequence[EvaluatedVariant], folder: Path, request: Request
) -> ResultsExport:
    """Write the files of one model repository per variant."""
    done, commits = ResultsExport(), data_set_commits(catalog)
    for variant in variants:
        files = benchmark_entries(variant.rows, commits)
        n_results = sum(map(len, files.values()))
        done.leave_out(NOT_EXPRESSED, len(variant.rows) - n_results)
        for name, entries in files.items():
            target = folder / variant.model.variant_id / FOLDER
            target.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(yaml_text(entries), encoding="utf-8")
            done.n_files += 1
        done.n_results += n_results
    return done
