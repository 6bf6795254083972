-- sensitivity_agreement: one row per analysis and pair of languages: the rank correlation of their losses over the units,
-- corrected for the effect of sampling error, with its interval.
-- title: Do the same parts matter to all languages?
-- anchor: sensitivity-agreement
-- optional: true
-- explanation: Spearman's correlation of two languages' losses over the parts, without the effect of sampling error on
-- the ranks, and its 95 % interval.
-- empty: The store has no sensitivity. An entry under sensitivity fills this figure.
SELECT
    b.source AS base_model, v.base_model_id, a.task, a.split, a.metric, a.scoring_rule, a.example_limit,
    a.unit_kind, a.sparsity, a.language, a.other_language, a.corrected, a.ci_low, a.ci_high, a.rank_correlation,
    a.n_units, a.n_clusters, a.sensitivity_id
FROM sensitivity_agreement AS a
JOIN variant_descriptions AS v ON v.variant_id = a.baseline_id
JOIN base_models AS b ON b.base_model_id = v.base_model_id
ORDER BY
    base_model, v.base_model_id, a.task, a.metric, a.unit_kind, a.sparsity, a.sensitivity_id, a.language,
    a.other_language;
