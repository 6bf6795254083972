-- forest: one row per variant and language, or group of languages (outside English, worst): the paired difference of
-- accuracy, chrF or perplexity to dense. margin is the smallest margin of a question about the group and dense. The split
-- is test, or dev for a task that was evaluated only on dev.
-- title: Paired differences from the dense model
-- anchor: forest
-- explanation: One panel per sparsity, with the languages in rows, groups of languages on top. Each mark is one variant
-- with its 95% interval, named at the right end of the first row. Strong marks are significant (p < 0.05 after Holm's
-- correction over the family), pale ones are not. Random pruning does not set the scale; triangles at the edge are
-- outside of it. Higher is better for accuracy and chrF, lower for the ratio of perplexities.
-- empty: The store has no comparison with the dense model. Pruned variants are compared if the recipe has variants and
-- an entry under evaluations, such as task: facts with split: test.
WITH margins AS (
    SELECT task, split, metric, group_kind, group_name, min(margin) AS margin
    FROM questions
    WHERE is_declared AND against = 'dense' AND margin IS NOT NULL
    GROUP BY ALL
)
SELECT
    b.source AS base_model, d.base_model_id, d.task, d.split, d.metric,
    concat_ws(', ', d.scoring_rule, q.protocol) AS scoring_rule, d.example_limit, d.group_kind, d.group_name,
    coalesce(v.score, v.combination) AS score, v.intervention, v.set_kind, v.propagation, v.structure, v.settings,
    v.demonstration_label, v.seed, v.sparsity, v.label,
    d.difference, d.scale, d.ci_low, d.ci_high, d.p_value, d.p_corrected, d.n_family, m.margin, d.dense_value, d.chance,
    d.variant_id
FROM against_dense AS d
JOIN described_variants AS v ON v.variant_id = d.variant_id
JOIN base_models AS b ON b.base_model_id = d.base_model_id
LEFT JOIN protocols AS q ON q.protocol_id = d.protocol_id
LEFT JOIN margins AS m
    ON m.task = d.task AND m.split = d.split AND m.metric = d.metric AND m.group_kind = d.group_kind
    AND m.group_name = d.group_name
WHERE d.metric IN ('accuracy', 'chrf', 'perplexity') AND d.difference IS NOT NULL
    AND d.group_kind IN ('language', 'outside_english', 'worst')
QUALIFY d.split = max(d.split) OVER (PARTITION BY d.base_model_id, d.task)
ORDER BY
    base_model, d.base_model_id, d.task, d.metric, scoring_rule, d.example_limit, v.sparsity,
    score DESC NULLS FIRST, v.intervention, v.set_kind DESC, v.propagation DESC, v.structure,
    v.settings NULLS FIRST, v.demonstration_label NULLS FIRST, v.seed, d.variant_id, d.group_kind, d.group_name;
