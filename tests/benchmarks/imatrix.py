"""Compare files of llama.cpp at 4 bits, quantised without and with importance matrices of several languages.

python tests/benchmarks/imatrix.py MODEL.gguf TEXTS --languages en sw
python tests/benchmarks/imatrix.py --small          a tiny model and CLDR's sentences, to check that the script runs

It needs the extra llama. TEXTS is a folder with a file LANGUAGE.txt of one sentence a line for each language. The first
lines are calibration text, from which `mlprune export --as imatrix` makes a matrix of each language and one of all; the
last lines are scored, each sentence alone. Everything runs with one thread. For each language, the change of the mean
-log p per token from one file to another has a 95 % t interval over sentences, which all files share.

With any matrix llama.cpp searches the scales of Q4_0, and gives the first eighth of the `ffn_down` weights Q4_1. So a
file with equal importances is a second baseline: only what differs from it is due to the text.
"""

import argparse
import functools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from command_line import option_parser, write_figures
from conditions import machine, moment
from transformers import AutoTokenizer

from mlprune.capabilities.importing.model_import import import_model
from mlprune.capabilities.publishing.imatrix import export_imatrix
from mlprune.capabilities.publishing.importance import given_sets
from mlprune.numeric.statistics.bootstrap import ratio_t_interval
from mlprune.store.store import Store
from tests.gguf_files import write_gguf
from tests.llama_cpp import importances, quantise, text_nlls
from tests.tiny_models import POSITIONS
from tests.tiny_recipes import plan_of, run_jobs, write_recipe, write_texts

KIND = "Q4_0"
SENTENCES, MAX_TOKENS = 8, 1024
"""Sentences of a demonstration, and most tokens: longer ones are cut."""
SOURCE, WITHOUT, EQUAL, ALL = "source", "without", "equal", "all"
"""Names of files: the one that is quantised, without a matrix, with equal importances, with those of all languages."""

Texts = Mapping[str, Sequence[list[int]]]
"""Language -> token ids of each scored sentence."""


def recipe(languages: Sequence[str], n_lines: int, *, max_tokens: int, dtype: str = "float32") -> dict[str, Any]:
    """Return a recipe that observes the calibration text of each language."""
    entry = {"kind": "monolingual", "template": "{text}{end}", "shots": SENTENCES, "max_tokens": max_tokens, "seed": 0}
    names = {"name": "calibration", "language": list(languages), "samples": n_lines // SENTENCES}
    return {
        "name": "imatrix",
        "model": {"path": "model", "dtype": dtype},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "demonstrations": [{**names, **entry}],
        "variants": [{"score": "wanda", "demonstrations": "calibration", "propagation": "dense", "sparsity": 0.5}],
        "compute": {"batch_tokens": 1024},
    }


def write_matrices(folder: Path, languages: Sequence[str], **options: Any) -> dict[str, Path]:
    """Observe the calibration texts and export matrices; returns the files by language, and that of all languages.

    Args:
        folder: of `model` and `corpus`.
        options: those of `recipe`.
    """
    path = write_recipe(folder, recipe(languages, **options))
    plan, store = plan_of(path), Store(folder / "store")
    run_jobs([job for job in plan.jobs if job.step in ("demonstrate", "observe")], store, model=plan.model)
    rows = {one.id: one.rows["demonstration_sets"][0] for one in store.records("demonstration_sets")}
    ids = {str(row["source_language"]): set_id for set_id, row in rows.items()}
    wanted = {**{language: [language] for language in languages}, ALL: list(languages)}
    for name, of_matrix in wanted.items():
        given = given_sets({ids[language]: language for language in of_matrix}, ())
        written = export_imatrix(store, given, folder / "model", folder / f"{name}.imatrix.gguf")
        print(f"matrix {name}: {written.n_matrices} matrices, {written.n_bytes:,} bytes, {written.n_tokens:,} tokens")
    return {name: folder / f"{name}.imatrix.gguf" for name in wanted}


def scored_texts(folder: Path, languages: Sequence[str], *, n_lines: int) -> Texts:
    """Return the last sentences of each language as token ids."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    texts = {}
    for language in languages:
        lines = (folder / "scored" / f"{language}.txt").read_text("utf-8").splitlines()[-n_lines:]
        ids = [tokenizer(line, add_special_tokens=False)["input_ids"] for line in lines]
        texts[language] = [of_line for of_line in ids if len(of_line) > 1]
    return texts


def measure(folder: Path, source: Path, texts: Texts, matrices: Mapping[str, Path]) -> dict[str, Any]:
    """Quantise, and score every sentence with every file; returns file -> bytes and -log p of each sentence."""
    found: dict[str, Any] = {}
    importance = {name: importances(path) for name, path in matrices.items()}
    equal = {name: np.ones_like(values) for name, values in importance[ALL].items()}
    for name, of_file in {SOURCE: None, WITHOUT: None, EQUAL: equal, **importance}.items():
        path = source if name == SOURCE else folder / f"{name}.{KIND}.gguf"
        if name != SOURCE:
            quantise(source, path, KIND, importance=of_file)
        began = process_time()
        nlls = {language: text_nlls(path, of_language) for language, of_language in texts.items()}
        found[name] = {"n_bytes": path.stat().st_size, "nlls": nlls, "cpu_s": process_time() - began}
        means = ", ".join(f"{language} {per_token(nlls[language], texts[language]):.4f}" for language in texts)
        print(
            f"{name}: {found[name]['n_bytes']:,} bytes, {found[name]['cpu_s']:.0f} s of CPU, -log p: {means}",
            flush=True,
        )
    return found


def sizes_of(texts: Sequence[list[int]]) -> NDArray[np.float64]:
    """Return the scored tokens of each sentence."""
    return np.array([len(text) - 1 for text in texts], dtype=np.float64)


def per_token(nlls: Sequence[float], texts: Sequence[list[int]]) -> float:
    """Return the mean -log p of a token."""
    return float(sum(nlls) / sizes_of(texts).sum())


def compare(found: Mapping[str, Any], texts: Texts) -> list[dict[str, Any]]:
    """Return the changes between files, by language: to those with a matrix, and from that of another language."""
    rows = []
    for language, of_language in texts.items():
        pairs = [(SOURCE, WITHOUT), (WITHOUT, EQUAL)]
        pairs += [(before, after) for after in (*texts, ALL) for before in (WITHOUT, EQUAL)]
        pairs += [(other, language) for other in texts if other != language]
        sizes = sizes_of(of_language)
        for before, after in pairs:
            first, second = (np.array(found[name]["nlls"][language]) for name in (before, after))
            interval, change = ratio_t_interval(second - first, sizes), float((second - first).sum() / sizes.sum())
            row = {"language": language, "from": before, "to": after, "change": change}
            row |= {"low": interval.low, "high": interval.high, "n": len(sizes), "n_tokens": int(sizes.sum())}
            rows.append(row)
    return rows


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a Markdown table."""
    print("\n| scored | sentences | tokens | from | to | change of -log p per token | 95 % interval |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        change = f"{row['change']:+.4f} | {row['low']:+.4f} to {row['high']:+.4f}"
        print(f"| {row['language']} | {row['n']} | {row['n_tokens']:,} | {row['from']} | {row['to']} | {change} |")


def write_inputs(folder: Path, options: argparse.Namespace) -> Path:
    """Write model folder, calibration and scored texts; returns the GGUF file."""
    if options.small:
        write_texts(folder)
        source = folder / "tiny.gguf"
        write_gguf(source, "llama")
        options.texts, options.languages = folder / "corpus", ["en", "sw"]
        options.calibration, options.scored = 16, 8
    else:
        source = options.model
    import_model(source, folder / "model", dtype="float32", report=lambda line: None)
    (folder / "scored").mkdir()
    for language in options.languages:
        lines = (options.texts / f"{language}.txt").read_text("utf-8").splitlines()
        if len(lines) < options.calibration + options.scored:
            raise SystemExit(f"{language}: {len(lines)} lines are fewer than those of both parts")
        for part, chosen in (("corpus", lines[: options.calibration]), ("scored", lines[-options.scored :])):
            (folder / part).mkdir(exist_ok=True)
            (folder / part / f"{language}.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return Path(source)


def main() -> None:
    """Measure, and print a table."""
    parser = option_parser(__doc__)
    parser.add_argument("model", type=Path, nargs="?", help="GGUF file that llama.cpp quantises")
    parser.add_argument("texts", type=Path, nargs="?", help="folder with LANGUAGE.txt")
    parser.add_argument("--languages", nargs="+", default=["en", "sw"])
    parser.add_argument("--calibration", type=int, default=240, help="first lines, calibration text")
    parser.add_argument("--scored", type=int, default=250, help="last lines, scored")
    options = parser.parse_args()
    if not options.small and (options.model is None or options.texts is None):
        parser.error("MODEL and TEXTS are needed")
    torch.set_num_threads(1)
    print_now = functools.partial(print, flush=True)
    with tempfile.TemporaryDirectory(prefix="imatrix-") as name:
        folder, began = Path(name), moment()
        source = write_inputs(folder, options)
        texts = scored_texts(folder, options.languages, n_lines=options.scored)
        max_tokens = POSITIONS if options.small else MAX_TOKENS
        matrices = write_matrices(folder, options.languages, n_lines=options.calibration, max_tokens=max_tokens)
        print_now(f"matrices made, {process_time():.0f} s of CPU so far")
        found = measure(folder, source, texts, matrices)
    rows = compare(found, texts)
    print_rows(rows)
    write_figures(options.out, rows=rows, files=found, machine=machine(), began=began, ended=moment())


if __name__ == "__main__":
    main()
