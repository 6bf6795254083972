"""Measure the catalog at scale: rows folded a second, and every named query over 100,000 variants.

python tests/benchmarks/catalog_scale.py                 100,000 variants, 10 million metric rows; some 10 minutes, 6 GB
python tests/benchmarks/catalog_scale.py --small         1,000 variants: does the machinery work?

What is folded are real records in segments, made by a generator. What is queried is a catalog whose rows are made by
SQL, for a generator of ten million rows in records would take longer than all measurements together. Queries are timed
as `mlprune query` asks them: through the read-only connection of `Catalog`, every row fetched, warm.
"""

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).parents[2]))

from catalog.files import FILE_NAME
from catalog.queries import list_queries
from catalog.store import Catalog
from mlprune.records import Artefact, Record, identity
from mlprune.segments import segment_bytes
from mlprune.storage import Store

METRICS = ("accuracy", "f1_macro", "f1_weighted", "precision_macro", "recall_macro", "ece")
LANGUAGES = ("en", "fr", "es", "sw", "de", "zh", "ar", "hi")
SEGMENT_RECORDS = 20_000
EVALUATIONS_A_VARIANT = 2 * len(LANGUAGES)

FILL = """
CREATE MACRO id_of(what, n) AS left(sha256(what || n), 20);
CREATE TEMP TABLE language AS
    SELECT unnest(range(8)) AS l, unnest(['en', 'fr', 'es', 'sw', 'de', 'zh', 'ar', 'hi']) AS name;
CREATE TEMP TABLE metric_name AS
    SELECT unnest(['accuracy', 'f1_macro', 'f1_weighted', 'precision_macro', 'recall_macro', 'ece']) AS metric;
INSERT INTO base_models BY NAME SELECT id_of('base', 0) AS base_model_id, 'large' AS source, 'xglm' AS family,
    24 AS n_blocks, 1024 AS hidden_size, 300000000 AS n_prunable;
INSERT INTO demonstration_sets BY NAME SELECT id_of('set', n) AS demonstration_set_id,
    if(n % 2 = 0, 'translation', 'monolingual') AS kind, (SELECT name FROM language WHERE l = 1 + (n // 2) % 7) AS
    source_language, if(n % 2 = 0, 'en', NULL) AS target_language, 4 AS shots, 100 AS samples, 512 AS max_tokens,
    40000 AS n_tokens, n // 14 AS seed, 'corrected' AS profile FROM range(140) AS r(n);
CREATE TEMP TABLE v AS SELECT n, id_of('variant', n) AS variant_id, n % 140 AS s, (n // 140) % 2 AS p,
    (n // 280) AS grid FROM range(getvariable('n_variants')) AS r(n);
INSERT INTO variants BY NAME SELECT variant_id, id_of('base', 0) AS base_model_id,
    if(n = 0, NULL, id_of('set', s)) AS demonstration_set_id, if(n = 0, NULL, 'wanda') AS score,
    if(n = 0, NULL, 'row') AS structure, if(n = 0, NULL, if(p = 0, 'dense', 'sequential')) AS propagation,
    if(n = 0, 0, round((grid % 19 + 1) / 20.0, 3)) AS sparsity, sparsity AS achieved_sparsity,
    false AS weights_changed, if(n = 0, NULL, 'lowest') AS removes, if(n = 0, NULL, 'uniform') AS schedule,
    if(n = 0, NULL, 'all') AS scope, if(n = 0, NULL, 'corrected') AS profile, if(n = 0, NULL, 'all') AS token_scope,
    if(n = 0 OR grid < 19, NULL, grid // 19) AS n_demonstrations FROM v;
INSERT INTO variant_demonstrations BY NAME SELECT variant_id, id_of('set', s) AS demonstration_set_id,
    'demonstrations' AS role, 1.0 AS weight FROM v WHERE n > 0;
INSERT INTO names BY NAME SELECT 'sweep' AS recipe, 'variant' AS kind, 'variant ' || n AS name, variant_id AS id FROM v;
INSERT INTO variant_layers BY NAME SELECT variant_id, b::INTEGER AS block, layer, 1048576 AS n_weights,
    500000 AS n_removed FROM v, range(4) AS r(b), (SELECT unnest(['fc1', 'fc2']) AS layer) WHERE n > 0;
CREATE TEMP TABLE e AS SELECT v.n, v.variant_id, name AS language, split,
    id_of('evaluation', v.n || name || split) AS evaluation_id
    FROM v, language, (SELECT unnest(['dev', 'test']) AS split) ORDER BY v.n;
INSERT INTO evaluations BY NAME SELECT evaluation_id, variant_id, 'facts' AS task, language, split,
    'mean_whole_text' AS scoring_rule, language AS prompt_language, 1000 AS n_examples FROM e;
INSERT INTO metrics BY NAME SELECT evaluation_id, variant_id, 'facts' AS task, language, split, metric,
    (hash(evaluation_id || metric) % 100000) / 100000.0 AS value, value - 0.03 AS ci_low, value + 0.03 AS ci_high,
    1000 AS n FROM e, metric_name;
INSERT INTO comparisons BY NAME SELECT id_of('comparison', n || split) AS comparison_id, variant_id,
    id_of('variant', 0) AS baseline_id, evaluation_id, id_of('evaluation', '0' || language || split) AS
    baseline_evaluation_id, 'facts' AS task, language, split, 'accuracy' AS metric,
    (hash(evaluation_id) % 20000) / 100000.0 - 0.1 AS difference, difference - 0.04 AS ci_low,
    difference + 0.04 AS ci_high, (hash(evaluation_id) % 10007) / 10007.0 AS p_value, p_value AS p_adjusted
    FROM e WHERE n > 0;
INSERT INTO rank_consistency BY NAME SELECT variant_id, 'facts' AS task, language, 'en' AS reference_language, split,
    1000 AS n_items, 0 AS n_skipped, (hash(evaluation_id) % 1000) / 1000.0 AS value, evaluation_id,
    id_of('evaluation', n || 'en' || split) AS reference_evaluation_id, 'mean_whole_text' AS scoring_rule
    FROM e WHERE language <> 'en';
INSERT INTO mask_overlaps BY NAME SELECT least(a.variant_id, b.variant_id) AS variant_a,
    greatest(a.variant_id, b.variant_id) AS variant_b, k::INTEGER AS block, 'fc1' AS layer, 0.5 AS jaccard
    FROM v AS a JOIN v AS b ON b.n = a.n + 1, range(4) AS r(k) WHERE a.n > 0 AND a.n % 140 < 100;
INSERT INTO records BY NAME SELECT 'variants' AS kind, variant_id AS id, 1 AS step_version, 0 AS n_artefacts FROM v;
INSERT INTO records BY NAME SELECT 'evaluations' AS kind, evaluation_id AS id, 1 AS step_version, 1 AS n_artefacts
    FROM e;
INSERT INTO record_parents BY NAME SELECT 'evaluations' AS kind, evaluation_id AS id, 'variant' AS role,
    variant_id AS parent_id FROM e;
INSERT INTO artefacts BY NAME SELECT 'predictions/' || evaluation_id || '.parquet' AS path, 'evaluations' AS kind,
    evaluation_id AS id, 10000 AS n_bytes, 1000 AS n_rows, sha256(evaluation_id) AS sha256 FROM e;
"""


def evaluation_records(n_records: int) -> Iterator[Record]:
    """Records of evaluations: seven rows of their own, one parent and one artefact each."""
    for number in range(n_records):
        variant = f"{number // EVALUATIONS_A_VARIANT:020x}"
        parameters = {"task": "facts", "language": LANGUAGES[number % 8], "number": number, "batch_tokens": 4096}
        parents = {"variant": variant}
        record_id = identity("evaluations", step_version=1, parameters=parameters, parents=parents)
        keys = {"evaluation_id": record_id, "variant_id": variant, "task": "facts", "language": LANGUAGES[number % 8]}
        keys |= {"split": "test"}
        more = {"scoring_rule": "mean_whole_text", "prompt_language": "en", "example_limit": None, "n_examples": 1000}
        values = [(name, ((number * 7919 + place * 104729) % 100003) / 100003) for place, name in enumerate(METRICS)]
        metrics = [
            {**keys, "metric": name, "value": value, "ci_low": value - 0.03, "ci_high": value + 0.03, "n": 1000}
            for name, value in values
        ]
        artefact = Artefact(f"predictions/{record_id}.parquet", 12345, record_id * 3 + "0000", 3000)
        rows = {"evaluations": [{**keys, **more}], "metrics": metrics}
        yield Record("evaluations", record_id, 1, parameters, parents, artefacts=(artefact,), rows=rows)


def fold_figures(folder: Path, n_records: int) -> dict[str, Any]:
    """Fold records that lie in segments into a catalog that has its tables already."""
    store = Store(folder / "folded")
    with Catalog.open(store) as catalog:
        catalog.fold()
    lines = sorted((one.id, one.to_line().encode()) for one in evaluation_records(n_records))
    for start in range(0, n_records, SEGMENT_RECORDS):
        path = f"records/evaluations/segments/{start:016x}.jsonl.zst"
        store.write_bytes(path, segment_bytes(lines[start : start + SEGMENT_RECORDS]))
    del lines
    started, cpu = perf_counter(), process_time()
    with Catalog.open(store) as catalog:
        done = catalog.fold()
    seconds, cpu = perf_counter() - started, process_time() - cpu
    with Catalog.open(store) as catalog:
        again = perf_counter()
        catalog.fold()
        again = perf_counter() - again
    return {
        "records": done.n_records,
        "rows": done.n_rows,
        "seconds": round(seconds, 2),
        "rows_a_second": round(done.n_rows / seconds),
        "rows_a_cpu_second": round(done.n_rows / cpu),
        "fold_of_nothing_s": round(again, 3),
    }


def query_figures(folder: Path, n_variants: int, *, repeat: int, memory_limit: str) -> dict[str, Any]:
    """Median seconds of every named query over a made-up catalog."""
    store = Store(folder / "queried")
    with Catalog.open(store) as catalog:
        catalog.fold()
    started = perf_counter()
    with duckdb.connect(str(folder / "queried" / FILE_NAME)) as connection:
        connection.execute(f"SET memory_limit = '{memory_limit}'")
        connection.execute(f"SET VARIABLE n_variants = {n_variants}")
        connection.execute(FILL)
        after_fill(connection)
        (n_metrics,) = connection.execute("SELECT count(*) FROM metrics").fetchone() or (0,)
        (evaluation_id,) = connection.execute("SELECT min(evaluation_id) FROM evaluations").fetchone() or ("",)
    figures: dict[str, Any] = {"variants": n_variants, "metrics": n_metrics, "made_s": round(perf_counter() - started)}
    with Catalog.open(store) as catalog:
        catalog._connection = duckdb.connect(str(folder / "queried" / FILE_NAME), read_only=True)
        catalog._connection.execute(f"SET memory_limit = '{memory_limit}'")
        figures["queries"] = {
            query.name: _timed(
                catalog,
                query.sql,
                {one.name: one.default for one in query.parameters}
                | ({"evaluation_id": evaluation_id} if query.name == "lineage_of_metric" else {}),
                repeat=repeat,
            )
            for query in list_queries()
        }
    slow = [name for name, found in figures["queries"].items() if found["median_s"] > 0.2]
    return {**figures, "slower_than_200_ms": slow}


def after_fill(connection: duckdb.DuckDBPyConnection) -> None:
    """What a fold does at its end, beyond adding rows."""
    connection.execute("CHECKPOINT")


def _timed(catalog: Catalog, sql: str, parameters: dict[str, Any], *, repeat: int) -> dict[str, Any]:
    seconds, n_rows = [], 0
    for _ in range(repeat + 1):
        started = perf_counter()
        n_rows = len(catalog.select(sql, parameters).rows)
        seconds.append(perf_counter() - started)
    return {"median_s": round(median(seconds[1:]), 3), "first_s": round(seconds[0], 3), "rows": n_rows}


def main() -> None:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--small", action="store_true", help="1,000 variants: does the machinery work?")
    parser.add_argument("--variants", type=int, help="so many instead")
    parser.add_argument("--repeat", type=int, default=5, help="times every query is asked, after a first time")
    parser.add_argument("--only", choices=("fold", "query"), help="measure one half")
    parser.add_argument("--memory-limit", default="4GB", help="what DuckDB may use")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made: 6 GB")
    options = parser.parse_args()
    n_variants = options.variants or (1_000 if options.small else 100_000)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="mlprune-scale-", dir=options.folder) as name:
        if options.only != "query":
            figures["fold"] = fold_figures(Path(name), min(200_000, n_variants * EVALUATIONS_A_VARIANT))
        if options.only != "fold":
            figures["query"] = query_figures(
                Path(name), n_variants, repeat=options.repeat, memory_limit=options.memory_limit
            )
    figures["peak_memory_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
