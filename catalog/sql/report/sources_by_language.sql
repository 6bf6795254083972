-- sources_by_language: one row per cell of the heat maps: a method, sparsity, source of the demonstrations (a language or
-- a pair) and language of the evaluation, with the paired difference of accuracy to dense. The interval is that of a
-- single variant; for several seeds see seed_components. n_better and n_worse count variants with p_corrected < 0.05. The
-- split is test, or dev for a task that was evaluated only on dev.
-- title: Which source language helps which language?
-- anchor: sources
-- explanation: One table per method and sparsity, with a row per source of the demonstrations and a column per
-- evaluated language. A cell is the paired difference of accuracy to dense, as the mean over seeds if there are
-- several. A star means p < 0.05 after Holm's correction over the family of the comparison, for every seed.
-- empty: The store has no accuracy of variants whose demonstrations have a language. Sets of kind translation or
-- monolingual under demonstrations, read by variants, and an entry under evaluations fill this figure.
WITH compared AS (
    SELECT
        m.source AS base_model, v.base_model_id, c.task, c.split,
        concat_ws(', ', e.scoring_rule, q.protocol) AS scoring_rule, e.example_limit,
        v.score, v.set_kind, v.propagation, v.structure, v.settings, v.sparsity,
        v.demonstration_label, v.source_language, v.target_language, c.language,
        c.variant_id, c.difference, c.ci_low, c.ci_high, c.p_corrected, c.n_family, c.n_items AS n, c.detectable_difference
    FROM internal.against_dense AS c
    JOIN internal.variant_descriptions AS v ON v.variant_id = c.variant_id
    JOIN base_models AS m ON m.base_model_id = v.base_model_id
    JOIN evaluations AS e ON e.evaluation_id = c.evaluation_id
    LEFT JOIN internal.protocols AS q ON q.protocol_id = e.protocol_id
    WHERE c.group_kind = 'language' AND c.metric = 'accuracy' AND c.difference IS NOT NULL
        AND v.source_language IS NOT NULL
    QUALIFY c.split = max(c.split) OVER (PARTITION BY v.base_model_id, c.task)
)
SELECT
    base_model, base_model_id, task, split, scoring_rule, example_limit, sparsity, score, set_kind, propagation,
    structure, settings, demonstration_label, source_language, target_language, language,
    count(DISTINCT variant_id) AS n_variants,
    avg(difference ORDER BY variant_id) AS difference,
    CASE WHEN count(DISTINCT variant_id) = 1 THEN max(ci_low) END AS ci_low,
    CASE WHEN count(DISTINCT variant_id) = 1 THEN max(ci_high) END AS ci_high,
    count(DISTINCT variant_id) FILTER (WHERE p_corrected < 0.05 AND difference > 0) AS n_better,
    count(DISTINCT variant_id) FILTER (WHERE p_corrected < 0.05 AND difference < 0) AS n_worse,
    min(p_corrected) AS smallest_p_corrected,
    max(n_family) AS n_family,
    max(n) AS n,
    max(detectable_difference) AS detectable_difference
FROM compared
GROUP BY ALL
ORDER BY
    base_model, base_model_id, task, scoring_rule, example_limit, sparsity, score DESC, set_kind DESC,
    propagation DESC, structure, settings NULLS FIRST, demonstration_label, language;
