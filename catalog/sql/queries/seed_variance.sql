-- seed_variance: one row per language and group of variants that differ in nothing but a seed (of the sentences, or of
-- the bootstrap of the demonstrations): how much a value varies by chance.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
WITH groups AS (
    SELECT
        v.method, v.sparsity, v.shots, v.samples, m.language, m.scoring_rule, m.example_limit, m.protocol_id,
        count(DISTINCT v.seed) AS n_seeds,
        count(DISTINCT v.resample_seed) AS n_resamples,
        list_avg(list_sort(list(m.value))) AS mean_value,
        list_stddev_samp(list_sort(list(m.value))) AS standard_deviation,
        min(m.value) AS min_value,
        max(m.value) AS max_value,
        any_value(m.variant_id) AS variant_id
    FROM metrics AS m
    JOIN variant_descriptions AS v ON v.variant_id = m.variant_id
    WHERE m.profile = 'corrected' AND m.task = $task AND m.metric = $metric AND m.split = $split AND NOT v.is_dense
    GROUP BY ALL
    HAVING n_seeds > 1 OR n_resamples > 1
)
SELECT
    v.score, v.structure, v.propagation, g.sparsity, v.set_kind, v.source_language, v.target_language,
    g.shots, g.samples, v.settings, g.language, g.scoring_rule, g.example_limit, q.protocol,
    g.n_seeds, g.n_resamples, g.mean_value, g.standard_deviation, g.min_value, g.max_value, v.base_model_id
FROM groups AS g
JOIN described_variants AS v ON v.variant_id = g.variant_id
LEFT JOIN protocols AS q ON q.protocol_id = g.protocol_id
ORDER BY ALL;
