-- differences: a variant minus its baseline, with a test. One row per difference of a variant to a baseline: the dense model
-- of the variant, or a variant that a recipe names; per metric, split, way of evaluating and language or group of languages.
-- outcome says whether the variant is better or worse. Evaluations that a larger or later one replaces are left out; so is
-- profile paper, which comparisons has. Choose a metric, a split, a group_kind and a kind of baseline before you average
-- rows.
CREATE OR REPLACE VIEW differences AS
WITH compared AS (
    SELECT
        c.* EXCLUDE (n),
        'language' AS group_kind, c.language AS group_name, c.language AS languages, 1 AS n_languages, c.n AS n_items,
        m.value, b.value AS baseline_value, b.chance AS baseline_chance, b.limit_reached AS baseline_limit
    FROM internal.comparisons AS c
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = c.evaluation_id
    JOIN metrics AS m
        ON m.evaluation_id = c.evaluation_id AND m.metric = c.metric AND m.task = c.task AND m.split = c.split
    JOIN metrics AS b
        ON b.evaluation_id = c.baseline_evaluation_id AND b.metric = c.metric AND b.task = c.task AND b.split = c.split
    UNION ALL BY NAME
    SELECT * EXCLUDE (worst_language, baseline_worst_language, n_flips) FROM internal.aggregates
),
directions AS (
    SELECT metric, bool_and(higher_is_better) AS higher_is_better
    FROM metrics
    GROUP BY metric
)
SELECT
    v.base_model_id, v.label, v.method, v.sparsity, b.label AS baseline_label, b.sparsity AS baseline_sparsity,
    concat_ws(
        ', ',
        CASE WHEN v.bits IS DISTINCT FROM b.bits THEN 'quantisation' END,
        CASE WHEN v.sparsity <> b.sparsity THEN 'sparsity' END,
        CASE WHEN v.structure <> b.structure THEN 'structure' END,
        CASE WHEN v.propagation <> b.propagation THEN 'propagation' END,
        CASE WHEN v.source_language <> b.source_language THEN 'language' END,
        CASE WHEN v.set_kind IS NOT NULL AND b.set_kind IS NOT NULL AND v.seed <> b.seed THEN 'seed' END
    ) AS differs_in,
    b.is_dense AND b.base_model_id = v.base_model_id AS baseline_is_dense,
    d.*,
    CASE WHEN r.higher_is_better THEN d.difference ELSE -d.difference END AS gain,
    CASE WHEN gain < 0 THEN 'worse' WHEN gain > 0 THEN 'better' END AS outcome,
    r.higher_is_better
FROM compared AS d
JOIN internal.variant_descriptions AS v ON v.variant_id = d.variant_id
JOIN internal.variant_descriptions AS b ON b.variant_id = d.baseline_id
LEFT JOIN directions AS r ON r.metric = d.metric
WHERE d.profile = 'corrected';
-- baseline_is_dense: whether the baseline is the dense model of the variant
-- baseline_label: the baseline as text
-- baseline_sparsity: requested fraction of removed weights of the baseline; 0 for a dense model
-- differs_in: aspects that both have and in which they differ, besides the method: quantisation, sparsity, structure, propagation, language or seed of one demonstration set; empty for none
-- group_kind: language, or the kind of group as in aggregate_results
-- group_name: the language, or the name of the group as in aggregate_results
-- languages: languages of the group, sorted, with blanks between them
-- language: the language; NULL for groups
-- n_languages: number of languages
-- n_items: number of different items, which languages may share
-- value: the variant's value; of a group as in aggregate_results
-- baseline_value: the same of the baseline
-- baseline_chance: accuracy of guessing in the language; NULL for groups and for other metrics
-- baseline_limit: floor or ceiling if the baseline's value is one in the language; NULL for neither, and for groups
-- difference: value minus baseline_value; if scale is log_ratio, the logarithm of value divided by baseline_value
-- gain: the difference, above 0 if the variant is better, below 0 if it is worse
-- outcome: better or worse, by the direction of the metric; NULL if the difference is 0
-- higher_is_better: whether a higher value of the metric is better
-- p_value: two-sided p-value of no difference, without correction; NULL where variants are chosen: on dev of a task with a test split
-- n_clusters: number of different clusters of items, which languages share
-- evaluation_id: evaluation of the variant; NULL for groups
-- baseline_evaluation_id: evaluation of the baseline; NULL for groups
-- n_gained: number of items with more credit than under the baseline; NULL for groups, and if items have no credit
-- n_lost: number of items with less credit than under the baseline; NULL for groups, and if items have no credit
