-- rank_matrices: one row per cell of the matrices: RankC of a pair of languages for the dense model, and its difference
-- from dense for each variant that best_variant chose on dev for a language of the task (chosen_for lists the
-- languages; NULL for dense). The split is test, or dev for a task that was evaluated only on dev. If there are several
-- rules, evaluation setups and sizes of an evaluation, one is shown: preferably rule mean, default evaluation setup and
-- full split.
-- title: Between which languages are the answers alike?
-- anchor: rank-matrices
-- explanation: RankC of each pair of languages for the dense model, and how it changes in each variant that was best
-- for some language on dev.
-- empty: The store has no rank consistency. An entry under evaluations whose items have the same ids in several
-- languages, such as task: facts with languages: [en, fr], fills this figure.
WITH shown AS (
    SELECT variant_id, NULL AS task, NULL AS chosen_for FROM described_variants WHERE is_dense
    UNION ALL
    SELECT variant_id, task, string_agg(DISTINCT language, ', ' ORDER BY language) AS chosen_for
    FROM best_variant
    WHERE NOT is_dense AND language IS NOT NULL
    GROUP BY variant_id, task
)
SELECT
    b.name AS base_model, v.base_model_id, r.task, r.split, s.chosen_for, r.language, r.reference_language,
    r.value AS rank_consistency, r.ci_low, r.ci_high, r.chance, r.difference, r.difference_ci_low, r.difference_ci_high,
    r.p_value, r.n_items, r.n_skipped,
    v.label, coalesce(v.score, v.combination) AS score, v.intervention, v.set_kind, v.demonstration_label,
    v.propagation, v.structure, v.settings, v.sparsity, v.variant_id
FROM rank_consistency AS r
JOIN shown AS s ON s.variant_id = r.variant_id AND (s.task IS NULL OR s.task = r.task)
JOIN described_variants AS v ON v.variant_id = r.variant_id
JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = r.protocol_id
WHERE r.profile = 'corrected' AND r.value IS NOT NULL
QUALIFY r.split = max(r.split) OVER (PARTITION BY v.base_model_id, r.task)
    AND dense_rank() OVER (
        PARTITION BY v.base_model_id, r.task, r.split
        ORDER BY r.scoring_rule IS DISTINCT FROM 'mean', r.scoring_rule, q.protocol NULLS FIRST,
            r.example_limit NULLS FIRST
    ) = 1
ORDER BY
    base_model, v.base_model_id, r.task, s.chosen_for NULLS FIRST, v.variant_id, r.language, r.reference_language;
