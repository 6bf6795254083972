-- differences_to_dense: earlier name: one row per row of against_dense
CREATE OR REPLACE VIEW differences_to_dense AS
SELECT
    base_model_id, variant_id, baseline_id, task, split, metric, scoring_rule, example_limit, protocol_id,
    group_kind, group_name, languages, dense_value, chance, dense_limit,
    difference, scale, ci_low, ci_high, standard_error,
    p_value, interval_contradicts_p, p_corrected, test_family, n_family, is_primary,
    n_items, n_clusters, n_gained, n_lost, smallest_significant, detectable_difference, conditional_on_one_draw
FROM against_dense;
