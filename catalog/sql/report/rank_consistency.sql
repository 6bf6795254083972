-- rank_consistency: one row per value: RankC of a language with English, with its interval and chance level, for the
-- dense model and for the variant that best_variant chose for that language on dev. The split is test, or dev for a
-- task that was evaluated only on dev. If there are several rules, evaluation setups and sizes of an evaluation, one is
-- shown: preferably rule mean, default evaluation setup and full split.
-- title: Does the model rank answers as it does in English?
-- anchor: rank-consistency
-- explanation: RankC compares how a language and English rank the candidates of the same items; 1 means equal rankings,
-- the dashed line is the RankC of unrelated rankings. Lines are 95 % intervals. The second panel has the paired
-- difference to dense on the same items. Grey is the dense model, blue the variant that was best for the language on
-- dev; without blue, the dense model was. RankC rises with accuracy: languages that answer well, or find
-- the same items hard, agree.
-- empty: The store has no rank consistency with English. An entry under evaluations whose items have the same ids in
-- English and other languages, such as task: facts with languages: [en, fr], fills this figure.
WITH shown AS (
    SELECT variant_id, base_model_id, NULL AS chosen_for, NULL AS task FROM described_variants WHERE is_dense
    UNION
    SELECT variant_id, base_model_id, language, task FROM best_variant WHERE NOT is_dense AND language IS NOT NULL
)
SELECT
    b.name AS base_model, v.base_model_id, r.task, r.split, r.language, v.is_dense,
    r.value AS rank_consistency, r.ci_low, r.ci_high, r.chance, r.n_items, r.n_skipped,
    r.difference, r.difference_ci_low, r.difference_ci_high, r.p_value,
    r.above_expected, r.above_expected_ci_low, r.above_expected_ci_high,
    v.label, v.score, v.set_kind, v.source_language, v.target_language, v.propagation, v.structure,
    v.settings, v.sparsity,
    v.variant_id
FROM rank_consistency AS r
JOIN described_variants AS v ON v.variant_id = r.variant_id
JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = r.protocol_id
SEMI JOIN shown AS s
    ON s.variant_id = r.variant_id
    AND (s.chosen_for IS NULL OR s.chosen_for = r.language AND s.task = r.task)
WHERE r.profile = 'corrected' AND r.reference_language = 'en' AND r.value IS NOT NULL
QUALIFY r.split = max(r.split) OVER (PARTITION BY v.base_model_id, r.task)
    AND dense_rank() OVER (
        PARTITION BY v.base_model_id, r.task, r.split
        ORDER BY r.scoring_rule IS DISTINCT FROM 'mean', r.scoring_rule, q.protocol NULLS FIRST,
            r.example_limit NULLS FIRST
    ) = 1
ORDER BY base_model, v.base_model_id, r.task, r.language, v.is_dense DESC, v.variant_id;
