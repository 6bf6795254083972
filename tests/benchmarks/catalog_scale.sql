-- catalog_scale: insert the rows of a synthetic catalog into its tables. One base model, 140 demonstration sets, Wanda at
-- 19 sparsities with dense and sequential propagation, repeated with other numbers of demonstrations; three tasks.
-- Rows are in the order of a fold: 400 variants at a time, ordered by task, split and metric.
-- The variable n_variants is the number of variants.
CREATE MACRO id_of(what, n) AS left(sha256(what || n), 20);
CREATE MACRO noise(key) AS (hash(key) % 100000) / 100000.0;
CREATE TEMP TABLE languages AS
    SELECT unnest(range(8)) AS l, unnest(['en', 'fr', 'es', 'sw', 'de', 'zh', 'ar', 'hi']) AS name;
INSERT INTO base_models BY NAME SELECT id_of('base', 0) AS base_model_id, 'large' AS source, 'xglm' AS family,
    24 AS n_blocks, 1024 AS hidden_size, 300000000 AS n_prunable;
INSERT INTO demonstration_sets BY NAME SELECT id_of('set', n) AS demonstration_set_id,
    if(n % 2 = 0, 'translation', 'monolingual') AS kind,
    (SELECT name FROM languages WHERE l = 1 + (n // 2) % 7) AS source_language, if(n % 2 = 0, 'en', NULL) AS target_language,
    4 AS shots, 100 AS samples, 512 AS max_tokens, 40000 AS n_tokens, n // 14 AS seed, 'corrected' AS profile
    FROM range(140) AS r(n);
CREATE TEMP TABLE v AS SELECT n, n // 400 AS batch, id_of('variant', n) AS variant_id, n % 140 AS s, (n // 140) % 2 AS p,
    n // 280 AS grid FROM range(getvariable('n_variants')) AS r(n);
INSERT INTO variants BY NAME SELECT variant_id, id_of('base', 0) AS base_model_id,
    if(n = 0, NULL, id_of('set', s)) AS demonstration_set_id, if(n = 0, NULL, 'wanda') AS score,
    if(n = 0, NULL, 'row') AS structure, if(n = 0, NULL, if(p = 0, 'dense', 'sequential')) AS propagation,
    if(n = 0, 0, round((grid % 19 + 1) / 20.0, 3)) AS sparsity, sparsity AS achieved_sparsity,
    false AS weights_changed, if(n = 0, NULL, 'lowest') AS removes, if(n = 0, NULL, 'uniform') AS schedule,
    if(n = 0, NULL, 'corrected') AS profile, if(n = 0, NULL, 'all') AS token_scope,
    if(n = 0 OR grid < 19, NULL, grid // 19) AS n_demonstrations FROM v;
INSERT INTO variant_demonstrations BY NAME SELECT variant_id, id_of('set', s) AS demonstration_set_id,
    'demonstrations' AS role, 1.0 AS weight FROM v WHERE n > 0;
INSERT INTO names BY NAME SELECT 'sweep' AS recipe, 'variant' AS kind, 'variant ' || n AS name, variant_id AS id FROM v;
INSERT INTO variant_layers BY NAME SELECT variant_id, b::INTEGER AS block, layer, 1048576 AS n_weights,
    500000 AS n_removed FROM v, range(4) AS r(b), (SELECT unnest(['fc1', 'fc2']) AS layer) WHERE n > 0;
CREATE TEMP TABLE conditions AS
    SELECT row_number() OVER () AS c, *, concat_ws(' ', task, language, split) AS suffix FROM (
        SELECT 'facts' AS task, name AS language, split, 'mean' AS rule,
            ['accuracy', 'ece', 'f1_macro', 'f1_weighted', 'recall_macro'] AS metrics
        FROM languages, (SELECT unnest(['dev', 'test']) AS split)
        UNION ALL SELECT 'perplexity', name, 'test', 'sum', ['perplexity'] FROM languages
        UNION ALL SELECT 'translation', unnest(['fr-en', 'es-en']), 'test', 'greedy', ['bleu', 'chrf', 'exact_match']
    );
CREATE TEMP TABLE e AS SELECT v.n, v.batch, v.variant_id, k.* EXCLUDE (suffix),
    left(sha256('evaluation' || v.n || k.suffix), 20) AS evaluation_id FROM v, conditions AS k ORDER BY v.batch, k.c;
INSERT INTO evaluations BY NAME SELECT evaluation_id, variant_id, task, language, split, rule AS scoring_rule,
    language[:2] AS prompt_language, task AS protocol_id, 'en' AS prompts, 0 AS limit_seed, 1000 AS n_examples,
    'corrected' AS profile FROM e;
INSERT INTO metrics BY NAME SELECT evaluation_id, variant_id, task, language, split, metric,
    noise(evaluation_id || metric) AS value, metric NOT IN ('perplexity', 'ece') AS higher_is_better, value - 0.03 AS ci_low, value + 0.03 AS ci_high, 1000 AS n,
    rule AS scoring_rule, language[:2] AS prompt_language, task AS protocol_id, 'corrected' AS profile
    FROM (SELECT *, unnest(metrics) AS metric FROM e) ORDER BY batch, task, split, metric, language;
INSERT INTO comparison_results BY NAME SELECT id_of('comparison', e.n || e.task || e.split) AS comparison_id, e.variant_id,
    d.variant_id AS baseline_id, e.evaluation_id, d.evaluation_id AS baseline_evaluation_id, e.task, e.language, e.split,
    e.metrics[1] AS metric, noise(e.evaluation_id) * 0.2 - 0.1 AS difference, difference - 0.04 AS ci_low,
    difference + 0.04 AS ci_high, power(noise(e.evaluation_id || 'p'), 5) AS p_value, 'tango' AS test,
    'difference' AS scale, 1000 AS n, 1000 AS n_clusters,
    e.rule AS scoring_rule, e.task AS protocol_id, 'corrected' AS profile
    FROM e JOIN e AS d ON d.n = 0 AND d.c = e.c WHERE e.n > 0;
INSERT INTO aggregate_results BY NAME SELECT comparison_id, variant_id, baseline_id, task, split, metric,
    unnest(['outside_english', 'worst']) AS group_kind, '' AS group_name,
    string_agg(language, ' ' ORDER BY language) AS languages, count(*) AS n_languages, 1000 AS n_items,
    avg(difference ORDER BY language) AS difference, 'difference' AS scale,
    avg(difference ORDER BY language) - 0.02 AS ci_low, avg(difference ORDER BY language) + 0.02 AS ci_high, min(p_value) AS p_value, 'sign_flip' AS test,
    scoring_rule, protocol_id, 'corrected' AS profile
    FROM comparison_results WHERE task = 'facts' AND language <> 'en'
    GROUP BY comparison_id, variant_id, baseline_id, task, split, metric, scoring_rule, protocol_id;
INSERT INTO rank_consistency BY NAME SELECT a.variant_id, a.task, a.language, b.language AS reference_language, a.split,
    1000 AS n_items, 0 AS n_skipped, noise(a.evaluation_id || b.evaluation_id) AS value, a.evaluation_id,
    b.evaluation_id AS reference_evaluation_id, 'mean' AS scoring_rule, a.task AS protocol_id, 'corrected' AS profile
    FROM e AS a JOIN e AS b ON b.n = a.n AND b.split = a.split AND b.task = a.task AND b.language <> a.language
    WHERE a.task = 'facts' AND a.language <> 'en' AND b.language IN ('en', 'fr') AND a.split = 'test';
INSERT INTO mask_overlaps BY NAME SELECT least(a.variant_id, b.variant_id) AS variant_a,
    greatest(a.variant_id, b.variant_id) AS variant_b, k::INTEGER AS block, 'fc1' AS layer, 0.5 AS jaccard
    FROM v AS a JOIN v AS b ON b.n = a.n + 1, range(4) AS r(k) WHERE a.n > 0 AND a.n % 140 < 100;
INSERT INTO records BY NAME SELECT 'variants' AS kind, variant_id AS id, 1 AS step_version, 0 AS n_artefacts FROM v;
INSERT INTO records BY NAME SELECT 'base_models' AS kind, base_model_id AS id, 1 AS step_version, 0 AS n_artefacts
    FROM base_models;
INSERT INTO records BY NAME SELECT 'demonstration_sets' AS kind, demonstration_set_id AS id, 1 AS step_version,
    1 AS n_artefacts FROM demonstration_sets;
INSERT INTO records BY NAME SELECT 'evaluations' AS kind, evaluation_id AS id, 1 AS step_version, 1 AS n_artefacts
    FROM e;
INSERT INTO record_parents BY NAME SELECT 'variants' AS kind, variant_id AS id, 'base_model' AS role,
    id_of('base', 0) AS parent_id FROM v;
INSERT INTO record_parents BY NAME SELECT 'variants' AS kind, variant_id AS id, 'demonstration_set' AS role,
    id_of('set', s) AS parent_id FROM v WHERE n > 0;
INSERT INTO record_parents BY NAME SELECT 'evaluations' AS kind, evaluation_id AS id, 'variant' AS role,
    variant_id AS parent_id FROM e;
INSERT INTO artefacts BY NAME SELECT 'predictions/' || evaluation_id || '.parquet' AS path, 'evaluations' AS kind,
    evaluation_id AS id, 10000 AS n_bytes, 1000 AS n_rows, sha256(evaluation_id) AS sha256 FROM e;
INSERT INTO environments BY NAME SELECT id_of('environment', n) AS environment_id, '0.1.0' AS mlprune,
    sha256('code' || n) AS code_sha256, sha1('commit' || n) AS git_commit, false AS is_modified,
    'CPython 3.11.7' AS python FROM range(5) AS r(n);
INSERT INTO environment_packages BY NAME SELECT id_of('environment', n) AS environment_id, 'package-' || k AS package,
    '1.' || k AS version FROM range(5) AS r(n), range(200) AS s(k);
INSERT INTO runs BY NAME SELECT 'runs/r' || n || '/run.json' AS run_file, 'r' || n AS run_id, 'run' AS command,
    'sweep' AS recipe, TIMESTAMP '2026-02-03 22:15:00' + n * INTERVAL 1 DAY AS started_at, 'auto' AS address,
    'node' AS host, id_of('environment', n % 5) AS environment_id FROM range(100) AS r(n);
INSERT INTO run_ends BY NAME SELECT replace(run_file, 'run.json', 'ended.json') AS run_file, run_id, 0 AS round,
    'done' AS how, started_at + INTERVAL 9 HOUR AS ended_at, 2000 AS n_done, 0 AS n_failed FROM runs;
CREATE TEMP TABLE tries AS
    SELECT 'prune' AS step, 'variants' AS record_kind, n, variant_id AS record_id, 'job-' || n AS name FROM v
    UNION ALL SELECT 'evaluate', 'evaluations', n, evaluation_id, 'job-e' || n FROM e;
INSERT INTO job_records BY NAME
    SELECT 'runs/r' || n % 100 || '/' || name || '.json' AS run_file, record_kind, record_id,
        if(step = 'prune', 1, 26) AS n_records FROM tries;
INSERT INTO jobs BY NAME SELECT 'runs/r' || n % 100 || '/' || name || '.json' AS run_file, 'r' || n % 100 AS run_id,
    max(record_id) AS job_id, step, record_kind, max(record_id) AS record_id, 'done' AS status, 1 AS attempt,
    0 AS retries, 'node' AS host, 'w0' AS worker, TIMESTAMP '2026-02-03 22:15:00' AS started_at, 2.5 AS elapsed_s,
    1.5 AS peak_memory_gib, id_of('environment', n % 5) AS environment_id FROM tries GROUP BY step, record_kind, n, name;
INSERT INTO failures BY NAME SELECT 'runs/r' || n % 100 || '/failure-' || n || '.json' AS run_file,
    'r' || n % 100 AS run_id, variant_id AS job_id, 'evaluate' AS step, 'evaluations' AS record_kind,
    variant_id AS record_id, 'OutOfMemoryError' AS error, 'memory was short' AS message, 3 AS attempts,
    TIMESTAMP '2026-02-03 22:15:00' AS failed_at FROM v WHERE n % 1000 = 7;
INSERT INTO demonstrations BY NAME SELECT id_of('set', n) AS demonstration_set_id, k AS demonstration,
    if(n % 2 = 0, 'translation', 'monolingual') AS kind, 400 AS n_tokens, [4 * k, 4 * k + 1, 4 * k + 2, 4 * k + 3]
    AS sentence_ids, repeat('a sentence of this demonstration ', 40) AS text FROM range(140) AS r(n), range(100) AS s(k);
INSERT INTO statistics BY NAME SELECT id_of('statistics', n) AS statistics_id, id_of('base', 0) AS base_model_id,
    id_of('set', n) AS demonstration_set_id, 'dense' AS propagation, 100 AS n_demonstrations, 40000 AS n_tokens,
    'all' AS token_scope FROM range(140) AS r(n);
INSERT INTO feature_magnitudes BY NAME SELECT s.* EXCLUDE (propagation, n_demonstrations, n_tokens, token_scope),
    b AS depth, k AS rank, hash(statistics_id || b || k) % 1024 AS feature, 100.0 / k AS magnitude
    FROM statistics AS s, range(25) AS r(b), range(1, 11) AS t(k);
INSERT INTO feature_overlaps BY NAME SELECT id_of('base', 0) AS base_model_id, id_of('set', a) AS set_a,
    id_of('set', b) AS set_b, k AS depth, share, 'corrected' AS profile,
    id_of('statistics', a) AS statistics_a, id_of('statistics', b) AS statistics_b,
    noise(a || '-' || b || '-' || k) AS value
    FROM range(140) AS r(a), range(140) AS s(b), range(25) AS t(k), (SELECT unnest([0.01, 0.1]) AS share)
    WHERE a <> b AND a // 14 = b // 14;
