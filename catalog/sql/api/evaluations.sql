-- evaluations: one row per evaluation that no other one replaces, with the label of its variant
SELECT v.label, e.task, e.language, e.split, e.scoring_rule, e.n_examples, v.sparsity, v.is_dense, e.profile,
    e.* EXCLUDE (task, language, split, scoring_rule, n_examples, profile)
FROM evaluations AS e
JOIN internal.variant_descriptions AS v ON v.variant_id = e.variant_id
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = e.evaluation_id;
