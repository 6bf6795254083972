-- source_language_effects: which source language helps which language. One row per method, sparsity and language of the
-- evaluation: how much the source language of the demonstrations helps the language. difference is the difference from dense
-- with its interval and test. Variants of a row differ in nothing but seeds (see english_cost for estimate). against_others
-- is the difference minus its mean over the other source languages of the same kind of set, propagation, settings and
-- sparsity: a description without a test.
-- topic: methods
-- first: source_language, target_language, language, sparsity, difference, p_corrected
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $score VARCHAR = 'wanda'
-- $sparsity DOUBLE = NULL
WITH effects AS (
    SELECT *
    FROM internal.method_differences
    WHERE task = $task AND metric = $metric AND split = $split AND group_kind = 'language'
        AND source_language IS NOT NULL
        AND ($score::VARCHAR IS NULL OR score = $score::VARCHAR)
        AND ($sparsity::DOUBLE IS NULL OR sparsity = $sparsity::DOUBLE)
)
SELECT
    d.set_kind, d.propagation, d.sparsity, d.source_language, d.target_language, d.group_name AS language,
    d.difference, d.ci_low, d.ci_high, d.p_value, d.p_corrected, d.n_family, d.detectable_difference,
    CASE
        WHEN count(*) OVER other_sources > 1
        THEN d.difference - (sum(d.difference) OVER other_sources - d.difference) / (count(*) OVER other_sources - 1)
    END AS against_others,
    count(*) OVER other_sources - 1 AS n_other_sources,
    d.source_language = d.group_name AS is_own_language,
    d.n_items, d.n_variants, d.estimate, d.score, d.structure, d.settings, d.shots, d.samples, d.scale, d.scoring_rule,
    d.example_limit, q.protocol, m.source AS base_model, d.method_id, d.base_model_id
FROM effects AS d
LEFT JOIN internal.protocols AS q ON q.protocol_id = d.protocol_id
LEFT JOIN base_models AS m ON m.base_model_id = d.base_model_id
WINDOW other_sources AS (
    PARTITION BY
        d.base_model_id, d.score, d.structure, d.propagation, d.set_kind, d.target_language, d.settings, d.sparsity,
        d.shots, d.samples, d.group_name, d.scoring_rule, d.example_limit, d.protocol_id
)
ORDER BY
    base_model, d.base_model_id, d.score, d.set_kind DESC, d.propagation, d.structure, d.settings NULLS FIRST, d.shots,
    d.samples, d.sparsity, language, d.difference DESC, d.source_language, d.scoring_rule, q.protocol NULLS FIRST,
    d.example_limit, d.variant_ids;
