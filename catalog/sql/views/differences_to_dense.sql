-- differences_to_dense: one row per variant, metric, way of evaluating and language or group of languages: the paired
-- difference to the dense model of the variant, of profile corrected. It has the rows of comparisons_to_dense as groups of
-- kind language, and those of aggregates. Evaluations that a larger or later one replaces are left out.
CREATE OR REPLACE VIEW differences_to_dense AS
WITH differences AS (
    SELECT
        c.variant_id, c.baseline_id, c.task, c.split, c.metric, c.scoring_rule, c.example_limit, c.protocol_id,
        'language' AS group_kind, c.language AS group_name, c.language AS languages,
        c.dense_value, b.chance, b.limit_reached AS dense_limit,
        c.difference, c.scale, c.ci_low, c.ci_high, c.standard_error,
        c.p_value, c.interval_contradicts_p, c.p_corrected, c.test_family, c.n_family, c.is_primary,
        c.n AS n_items, c.n_clusters, c.n_gained, c.n_lost, c.smallest_significant, c.detectable_difference,
        c.conditional_on_one_draw
    FROM comparisons_to_dense AS c
    JOIN metrics AS b
        ON b.evaluation_id = c.baseline_evaluation_id
        AND b.metric = c.metric
        AND b.task = c.task
        AND b.split = c.split
    WHERE c.profile = 'corrected'
    UNION ALL BY NAME
    SELECT
        a.variant_id, a.baseline_id, a.task, a.split, a.metric, a.scoring_rule, a.example_limit, a.protocol_id,
        a.group_kind, a.group_name, a.languages, a.baseline_value AS dense_value,
        a.difference, a.scale, a.ci_low, a.ci_high, a.standard_error,
        a.p_value, a.interval_contradicts_p, a.p_corrected, a.test_family, a.n_family, a.is_primary,
        a.n_items, a.n_clusters, a.detectable_difference, a.conditional_on_one_draw
    FROM aggregates AS a
    JOIN variants AS v ON v.variant_id = a.variant_id
    JOIN variant_descriptions AS d ON d.variant_id = a.baseline_id AND d.is_dense AND d.base_model_id = v.base_model_id
    WHERE a.profile = 'corrected'
)
SELECT v.base_model_id, d.*
FROM differences AS d
JOIN variants AS v ON v.variant_id = d.variant_id;
-- group_kind: language, or the kind of group as in aggregate_results
-- group_name: the language, or the name of the group as in aggregate_results
-- languages: languages of the group, with blanks between them
-- dense_value: the dense model's value
-- chance: accuracy of guessing in the language; NULL for groups and for other metrics
-- dense_limit: floor or ceiling if the dense model's value is one in the language; NULL for neither, and for groups
-- p_value: as in comparisons or aggregates
-- n_items: number of items
-- n_gained: number of items with more credit than under the dense model; NULL for groups
-- n_lost: number of items with less credit than under the dense model; NULL for groups
-- smallest_significant: as in comparison_results; NULL for groups
-- conditional_on_one_draw: whether the variant has a single draw of demonstrations or of the random score
