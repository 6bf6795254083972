-- source_language_effects: one row per base model, kind of set, source language of the demonstrations and language of
-- the evaluation: how much a source language helps a language. difference is the mean of the variants' differences from
-- dense; against_others is its difference from the mean over the other source languages, in the same language.
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $score VARCHAR = 'wanda'
-- $sparsity DOUBLE = NULL
WITH differences AS (
    SELECT v.base_model_id, v.set_kind, v.source_language, c.language, c.variant_id, c.difference, c.p_value
    FROM comparisons_to_dense AS c
    JOIN described_variants AS v ON v.variant_id = c.variant_id
    WHERE c.task = $task AND c.metric = $metric AND c.split = $split AND c.difference IS NOT NULL
        AND v.source_language IS NOT NULL
        AND ($score::VARCHAR IS NULL OR v.score = $score::VARCHAR)
        AND ($sparsity::DOUBLE IS NULL OR v.sparsity = $sparsity::DOUBLE)
),
cells AS (
    SELECT
        base_model_id, set_kind, source_language, language,
        count(DISTINCT variant_id) AS n_variants,
        avg(difference ORDER BY difference) AS difference,
        stddev_samp(difference ORDER BY difference) AS standard_deviation,
        count(*) FILTER (WHERE difference > 0) / count(*) AS share_above_dense
    FROM differences
    GROUP BY ALL
),
others AS (
    SELECT
        c.base_model_id, c.set_kind, c.source_language, c.language,
        avg(o.difference ORDER BY o.difference) AS difference,
        count(*) AS n_sources
    FROM cells AS c
    JOIN cells AS o
        ON o.base_model_id = c.base_model_id
        AND o.set_kind = c.set_kind
        AND o.language = c.language
        AND o.source_language <> c.source_language
    GROUP BY ALL
)
SELECT
    c.set_kind, c.source_language, c.language, c.difference,
    c.difference - o.difference AS against_others,
    c.standard_deviation, c.share_above_dense, c.n_variants,
    coalesce(o.n_sources, 0) AS n_other_sources,
    c.source_language = c.language AS is_own_language,
    m.source AS base_model, c.base_model_id
FROM cells AS c
LEFT JOIN base_models AS m ON m.base_model_id = c.base_model_id
LEFT JOIN others AS o
    ON o.base_model_id = c.base_model_id
    AND o.set_kind = c.set_kind
    AND o.source_language = c.source_language
    AND o.language = c.language
ORDER BY base_model, c.base_model_id, c.set_kind DESC, c.language, c.difference DESC, c.source_language;
