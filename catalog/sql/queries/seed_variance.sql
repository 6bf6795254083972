-- seed_variance: one row per language and group of variants that differ in nothing but the seed, of the sentences or of
-- the bootstrap of the demonstrations: how far a number moves when only chance changes.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
SELECT
    m.base_model_id, v.score, v.structure, v.propagation, v.sparsity, v.set_kind, v.source_language, v.target_language,
    v.shots, v.samples, v.settings, m.language, m.scoring_rule, m.example_limit, m.setup,
    count(DISTINCT v.seed) AS n_seeds,
    count(DISTINCT v.resample_seed) AS n_resamples,
    avg(m.value ORDER BY m.evaluation_id) AS mean_value,
    stddev_samp(m.value ORDER BY m.evaluation_id) AS standard_deviation,
    min(m.value) AS min_value,
    max(m.value) AS max_value
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
WHERE m.task = $task AND m.metric = $metric AND m.split = $split AND NOT v.is_dense
GROUP BY ALL
HAVING n_seeds > 1 OR n_resamples > 1
ORDER BY ALL;
