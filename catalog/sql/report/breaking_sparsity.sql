-- breaking_sparsity: one row per cell of the tables: a method and a language with the sparsities between which the
-- method's accuracy falls significantly below dense (p_corrected < 0.05 at first_below and at no smaller one). Without
-- first_below no evaluated sparsity is below; last_not_below is 0 if the smallest one is. The split is test, or dev for a
-- task that was evaluated only on dev.
-- title: At which sparsity does each language break?
-- anchor: breaking
-- explanation: A cell says between which of the evaluated sparsities the accuracy falls significantly below dense (p <
-- 0.05 after Holm's correction): 0.2–0.3 means not at 0.2 and below, but at 0.3. ≤ 0.1 is below at the smallest
-- sparsity, > 0.6 is not below at the largest. Not below does not mean equal: the note says what could have been found.
-- † marks methods that are not below at a larger sparsity.
-- empty: The store has no test of a pruned variant against the dense model. Variants with several sparsities and an
-- entry under evaluations fill this figure.
SELECT
    m.source AS base_model, b.base_model_id, b.task, b.split, concat_ws(', ', b.scoring_rule, q.protocol) AS scoring_rule,
    b.example_limit, b.method, coalesce(b.score, b.combination) AS score, b.intervention, b.set_kind, b.propagation,
    b.structure, b.settings, b.demonstration_label, b.shots, b.samples, b.language,
    b.last_not_below, b.first_below, b.difference, b.p_corrected, b.detectable_difference, b.n_not_below_after, b.n_variants,
    b.n, b.n_family
FROM internal.breaking_sparsity AS b
JOIN base_models AS m ON m.base_model_id = b.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = b.protocol_id
WHERE b.metric = 'accuracy'
QUALIFY b.split = max(b.split) OVER (PARTITION BY b.base_model_id, b.task)
ORDER BY
    base_model, b.base_model_id, b.task, scoring_rule, b.example_limit, score DESC NULLS LAST, b.intervention,
    b.set_kind DESC, b.propagation DESC, b.structure, b.settings NULLS FIRST, b.demonstration_label, b.shots, b.samples,
    b.language;
