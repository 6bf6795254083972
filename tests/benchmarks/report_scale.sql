-- A synthetic catalog of 963 variants of one model: two scores with two propagations at nine sparsities, each on
-- translation and monolingual demonstrations of seven languages with two seeds, plus magnitude and random pruning;
-- two tasks and perplexity in eight languages. Every figure of the report has rows, except jobs and failures (run files).
CREATE MACRO id_of(what, n) AS left(sha256(what || n), 20);
CREATE MACRO noise(key) AS (hash(key) % 1000) / 1000.0 - 0.5;
CREATE TEMP TABLE language AS
SELECT
    unnest(['en', 'fr', 'es', 'sw', 'de', 'zh', 'ar', 'hi']) AS language,
    unnest([0.8, 0.62, 0.6, 0.4, 0.6, 0.5, 0.45, 0.42]) AS dense;
CREATE TEMP TABLE sparsity AS SELECT unnest([0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7]) AS sparsity;
CREATE TEMP TABLE base AS SELECT id_of('base', 0) AS base_model_id;
INSERT INTO base_models BY NAME
SELECT base_model_id, 'facebook/xglm-564M' AS source, 'xglm' AS family, 24 AS n_blocks, 1024 AS hidden_size,
    302000000 AS n_prunable
FROM base;
CREATE TEMP TABLE sets AS
SELECT id_of('set', language || kind || seed) AS set_id, language, kind, seed
FROM language, (SELECT unnest(['translation', 'monolingual']) AS kind), range(2) AS r(seed)
WHERE language <> 'en';
INSERT INTO demonstration_sets BY NAME
SELECT set_id AS demonstration_set_id, kind, language AS source_language,
    if(kind = 'translation', 'en', NULL) AS target_language, 4 AS shots, 100 AS samples, 512 AS max_tokens,
    40000 AS n_tokens, seed, 'corrected' AS profile
FROM sets;
CREATE TEMP TABLE v AS
SELECT
    id_of('variant', concat_ws(' ', score, set_id, propagation, sparsity, seed)) AS variant_id,
    row_number() OVER () AS n, *
FROM (
    SELECT NULL AS score, NULL AS set_id, NULL AS of_set, NULL AS kind, NULL AS propagation, 0.0 AS sparsity,
        NULL AS seed
    UNION ALL
    SELECT score, set_id, language, kind, propagation, sparsity, NULL
    FROM sets, sparsity, (SELECT unnest(['wanda', 'ria']) AS score),
        (SELECT unnest(['dense', 'sequential']) AS propagation)
    WHERE NOT (score = 'ria' AND kind = 'monolingual' AND seed = 1)
    UNION ALL
    SELECT score, NULL, NULL, NULL, NULL, sparsity, if(score = 'random', seed, NULL)
    FROM sparsity, range(8) AS r(seed), (SELECT unnest(['random', 'magnitude']) AS score)
    WHERE score = 'random' OR seed = 0
);
INSERT INTO variants BY NAME
SELECT variant_id, base_model_id, set_id AS demonstration_set_id, score, if(sparsity > 0, 'row', NULL) AS structure,
    propagation, sparsity, sparsity AS achieved_sparsity, false AS weights_changed, seed,
    if(sparsity > 0, 'lowest', NULL) AS removes, if(sparsity > 0, 'uniform', NULL) AS schedule,
    if(sparsity > 0, 'corrected', NULL) AS profile,
    if(set_id IS NULL, NULL, 'all') AS token_scope
FROM v, base;
INSERT INTO variant_demonstrations BY NAME
SELECT variant_id, set_id AS demonstration_set_id, 'demonstrations' AS role, 1.0 AS weight FROM v WHERE set_id IS NOT NULL;
INSERT INTO names BY NAME
SELECT 'sweep' AS recipe, 'variant' AS kind, concat_ws(' ', coalesce(score, 'dense'), of_set, n) AS name,
    variant_id AS id
FROM v;
INSERT INTO variant_layers BY NAME
SELECT variant_id, block::INTEGER AS block, layer, 1048576 AS n_weights, (1048576 * sparsity)::BIGINT AS n_removed
FROM v, range(24) AS r(block),
    (SELECT unnest(['fc1', 'fc2', 'self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.out_proj'])
        AS layer)
WHERE sparsity > 0;
CREATE TEMP TABLE e AS
SELECT
    v.*, l.language, task, split, id_of('evaluation', concat_ws(' ', v.n, l.language, task, split)) AS evaluation_id,
    if(task = 'perplexity', 12 / l.dense, l.dense) AS dense_value,
    CASE
        WHEN task = 'perplexity' THEN 12 / l.dense * exp(if(score = 'random', 12, 5) * sparsity * sparsity)
        WHEN score IS NULL THEN l.dense
        ELSE greatest(0, l.dense + if(kind = 'translation' AND l.language <> 'en', 0.04, 0)
            + if(of_set = l.language, 0.03, 0) - if(score = 'random', 1.2, 0.5) * sparsity * sparsity
            + 0.03 * noise(evaluation_id))
    END AS value
FROM v, language AS l, (SELECT unnest(['xnli', 'facts', 'perplexity']) AS task),
    (SELECT unnest(['dev', 'test']) AS split)
WHERE task <> 'perplexity' OR split = 'test';
INSERT INTO evaluations BY NAME
SELECT evaluation_id, variant_id, task, language, split, if(task = 'perplexity', 'sum', 'mean') AS scoring_rule,
    language AS prompt_language, task AS protocol_id, 'en' AS prompts, 0 AS limit_seed, 1000 AS n_examples
FROM e;
INSERT INTO metrics BY NAME
SELECT evaluation_id, variant_id, task, language, split, if(task = 'perplexity', task, 'accuracy') AS metric, value,
    task <> 'perplexity' AS higher_is_better, value * 0.95 AS ci_low, value * 1.05 AS ci_high, 1000 AS n, task AS protocol_id
FROM e;
INSERT INTO comparison_results BY NAME
SELECT id_of('comparison', concat_ws(' ', e.n, task, split)) AS comparison_id, e.variant_id, d.variant_id AS baseline_id,
    e.evaluation_id, d.evaluation_id AS baseline_evaluation_id, task, language, split, 'accuracy' AS metric,
    e.value - d.value AS difference, difference - 0.04 AS ci_low, difference + 0.04 AS ci_high,
    exp(-2000 * difference * difference) AS p_value,
    'mean' AS scoring_rule, task AS protocol_id, 'corrected' AS profile
FROM e JOIN (SELECT * FROM e WHERE sparsity = 0) AS d USING (task, language, split)
WHERE e.sparsity > 0 AND task <> 'perplexity';
INSERT INTO rank_consistency BY NAME
SELECT * RENAME (ranked AS value) FROM (
SELECT e.variant_id, task, e.language, r.language AS reference_language, split, 1000 AS n_items, 0 AS n_skipped,
    0.5 + 0.4 * noise(e.evaluation_id || r.language) AS ranked, ranked - 0.05 AS ci_low, ranked + 0.05 AS ci_high,
    0.3 AS chance, 'mean' AS scoring_rule, e.evaluation_id,
    r.evaluation_id AS reference_evaluation_id, task AS protocol_id
FROM e JOIN e AS r USING (variant_id, task, split)
WHERE task = 'facts' AND e.language <> 'en' AND (r.language = 'en' OR e.language < r.language)
);
INSERT INTO mask_overlaps BY NAME
SELECT least(a.variant_id, b.variant_id) AS variant_a, greatest(a.variant_id, b.variant_id) AS variant_b,
    block::INTEGER AS block, layer, 0.7 + 0.3 * noise(concat_ws(' ', a.n, b.n, block)) AS jaccard
FROM v AS a JOIN v AS b USING (score, propagation, sparsity), range(24) AS r(block),
    (SELECT unnest(['fc1', 'fc2']) AS layer)
WHERE a.n < b.n AND a.set_id IS NOT NULL AND b.set_id IS NOT NULL;
INSERT INTO statistics BY NAME
SELECT id_of('statistics', set_id) AS statistics_id, base_model_id, set_id AS demonstration_set_id,
    'dense' AS propagation, 100 AS n_demonstrations, 40000 AS n_tokens
FROM sets, base;
INSERT INTO feature_magnitudes BY NAME
SELECT id_of('statistics', set_id) AS statistics_id, base_model_id, set_id AS demonstration_set_id,
    block::INTEGER AS depth, place::INTEGER AS rank, (hash(set_id || block) % 40 + place * 50)::INTEGER AS feature,
    900.0 / place AS magnitude
FROM sets, base, range(25) AS r(block), range(1, 21) AS q(place);
INSERT INTO feature_overlaps BY NAME
SELECT base_model_id, a.set_id AS set_a, b.set_id AS set_b, block::INTEGER AS depth, 0.3 AS share,
    0.1 + 0.1 * noise(a.set_id || b.set_id || block) AS value, 'corrected' AS profile,
    id_of('statistics', a.set_id) AS statistics_a, id_of('statistics', b.set_id) AS statistics_b
FROM sets AS a, sets AS b, base, range(25) AS r(block);
