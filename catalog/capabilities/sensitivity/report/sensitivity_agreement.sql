-- sensitivity_agreement: one row per analysis and pair of languages: the rank correlation of their losses over the units,
-- corrected for the effect of sampling error, with its interval. With fewer than ten units all of them are NULL: they
-- mostly show what the model of the correction assumes.
-- title: Do the same parts matter to all languages?
-- anchor: sensitivity-agreement
-- draw: catalog.capabilities.sensitivity.panels:agreement_matrices
-- after: sensitivity_losses
-- topic: Inside the model
-- optional: true
-- explanation: Spearman's correlation of two languages' losses over the parts, without the effect of sampling error on
-- the ranks, and its 95 % interval.
-- empty: The store has no sensitivity. An entry under sensitivity fills this figure.
SELECT
    b.name AS base_model, v.base_model_id, a.task, a.split, a.metric, a.scoring_rule, a.example_limit,
    a.unit_kind, a.sparsity, a.language, a.other_language, CASE WHEN a.n_units >= 10 THEN a.corrected END AS corrected,
    CASE WHEN a.n_units >= 10 THEN a.ci_low END AS ci_low, CASE WHEN a.n_units >= 10 THEN a.ci_high END AS ci_high,
    CASE WHEN a.n_units >= 10 THEN a.rank_correlation END AS rank_correlation,
    a.n_units, a.n_clusters, a.sensitivity_id
FROM sensitivity_agreement AS a
JOIN internal.variant_descriptions AS v ON v.variant_id = a.baseline_id
JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
ORDER BY
    base_model, v.base_model_id, a.task, a.metric, a.unit_kind, a.sparsity, a.sensitivity_id, a.language,
    a.other_language;
