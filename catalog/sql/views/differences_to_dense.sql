-- differences_to_dense: one row per variant, metric, way of evaluating and language or group of languages: the paired
-- difference to the dense model of the variant, of profile corrected. It has the rows of comparisons as groups of kind
-- language, and those of aggregates.
CREATE OR REPLACE VIEW differences_to_dense AS
WITH differences AS (
    SELECT
        c.variant_id, c.baseline_id, c.task, c.split, c.metric, c.scoring_rule, c.example_limit, c.protocol_id,
        'language' AS group_kind, c.language AS group_name, c.language AS languages,
        b.value AS dense_value, b.chance, b.limit_reached AS dense_limit,
        c.difference, c.scale, c.ci_low, c.ci_high, c.standard_error, c.p_value, c.p_holm, c.n_family, c.is_primary,
        c.n AS n_items, c.n_clusters, c.smallest_significant, c.detectable_difference
    FROM comparisons AS c
    JOIN metrics AS b ON b.evaluation_id = c.baseline_evaluation_id AND b.metric = c.metric
    WHERE c.profile = 'corrected'
    UNION ALL BY NAME
    SELECT
        variant_id, baseline_id, task, split, metric, scoring_rule, example_limit, protocol_id, group_kind, group_name,
        languages, baseline_value AS dense_value, difference, scale, ci_low, ci_high, standard_error, p_value, p_holm,
        n_family, is_primary, n_items, n_clusters, detectable_difference
    FROM aggregates
    WHERE profile = 'corrected'
)
SELECT v.base_model_id, d.*
FROM differences AS d
JOIN variant_descriptions AS v ON v.variant_id = d.variant_id
JOIN variant_descriptions AS dense
    ON dense.variant_id = d.baseline_id AND dense.is_dense AND dense.base_model_id = v.base_model_id;
-- group_kind: language, or the kind of group as in aggregate_results
-- group_name: the language, or the name of the group as in aggregate_results
-- languages: languages of the group, with blanks between them
-- dense_value: the dense model's value
-- chance: accuracy of guessing in the language; NULL for groups and for other metrics
-- dense_limit: floor or ceiling if the dense model's value is one in the language; NULL for neither, and for groups
