-- difference_by_sparsity: one row per point of the curves: a task, metric (accuracy, chrF or perplexity), language or
-- outside_english, method and sparsity, with the mean of the paired differences to dense over the variants. A method has
-- one point over all of its demonstration sets (demonstration_label is NULL, and is_mean_over_pairs is true if it read
-- any) and one point for each set. The interval is that of a single variant; a mean over several has none. n_significant
-- counts the variants with p_corrected < 0.05 over the tests of their family. The split is test, or dev for a task that
-- was evaluated only on dev. Run-time baselines are excluded.
-- title: Difference from dense by sparsity
-- anchor: curves
-- explanation: One panel per language, one line per method; scales differ between panels. Of eight or more methods each
-- has its name at its line or in its row, in the order of the first panel. The line at 0 is the dense model, whose value
-- and chance level are in the title. A method has the same colour and marker in every figure; dashed lines are dense
-- propagation, all others solid. A point is the mean over the variants of a method and has no interval; a single variant
-- has its 95 % interval. A pale mark means that at least one of its variants does not differ significantly from dense
-- (p < 0.05, corrected over the family). Choose a pair above to see its own points. Random pruning does not set the scale
-- of lines. Higher is better for accuracy and chrF, lower for the ratio of perplexities.
-- empty: The store has no comparison with the dense model. Pruned variants are compared if the recipe has variants and
-- an entry under evaluations, such as task: facts with split: test.
WITH points AS (
    SELECT
        b.name AS base_model, d.base_model_id, d.task, d.split, d.metric,
        concat_ws(', ', d.scoring_rule, q.protocol) AS scoring_rule, d.example_limit,
        CASE d.group_kind WHEN 'language' THEN d.group_name ELSE d.group_kind END AS language,
        coalesce(v.score, v.combination) AS score, v.set_kind, v.propagation, v.structure, v.settings, v.sparsity,
        v.demonstration_label, d.variant_id, d.difference, d.scale, d.ci_low, d.ci_high, d.p_corrected, d.dense_value,
        d.chance, d.dense_limit
    FROM internal.against_dense AS d
    JOIN described_variants AS v ON v.variant_id = d.variant_id
    JOIN internal.described_models AS b ON b.base_model_id = d.base_model_id
    LEFT JOIN internal.protocols AS q ON q.protocol_id = d.protocol_id
    WHERE d.metric IN ('accuracy', 'chrf', 'perplexity') AND d.difference IS NOT NULL AND v.intervention IS NULL
        AND d.group_kind IN ('language', 'outside_english')
    QUALIFY d.split = max(d.split) OVER (PARTITION BY d.base_model_id, d.task)
),
all_points AS (
    SELECT * REPLACE (NULL AS demonstration_label), demonstration_label IS NOT NULL AS is_mean_over_pairs FROM points
    UNION ALL BY NAME
    SELECT *, false AS is_mean_over_pairs FROM points WHERE demonstration_label IS NOT NULL
)
SELECT
    base_model, base_model_id, task, split, metric, scoring_rule, example_limit, language, scale,
    score, set_kind, propagation, structure, settings, demonstration_label, is_mean_over_pairs, sparsity,
    count(DISTINCT variant_id) AS n_variants,
    avg(difference ORDER BY variant_id) AS difference,
    count(*) FILTER (p_corrected < 0.05) AS n_significant,
    CASE WHEN count(*) = 1 THEN min(ci_low) END AS ci_low,
    CASE WHEN count(*) = 1 THEN max(ci_high) END AS ci_high,
    avg(dense_value ORDER BY variant_id) AS dense_value,
    avg(chance ORDER BY variant_id) AS chance,
    min(dense_limit) AS dense_limit
FROM all_points
GROUP BY ALL
ORDER BY
    base_model, base_model_id, task, metric, scoring_rule, example_limit, language,
    score DESC NULLS FIRST, set_kind DESC, propagation DESC, structure, settings NULLS FIRST,
    demonstration_label NULLS FIRST, sparsity;
