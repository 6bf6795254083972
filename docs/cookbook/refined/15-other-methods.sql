-- What do refined masks, rounded weights and missing neurons cost each language?
-- Change of log perplexity relative to dense, above 0 if the model predicts worse. `*`: significant after Holm's
-- correction over all rows and languages. Three random controls are one row, their mean. Named queries:
-- `refinement_by_language`, `layer_error_by_language`, `quantisation_cost`.
PIVOT (
    SELECT v.sparsity, v.settings, c.language,
        format('{:+.3f}{}', avg(c.difference ORDER BY c.variant_id), CASE WHEN max(c.p_corrected) < 0.05 THEN ' *' ELSE '' END) AS change
    FROM differences AS c
    JOIN described_variants AS v ON v.variant_id = c.variant_id
    WHERE c.metric = 'perplexity' AND c.split = 'test' AND c.group_kind = 'language' AND c.baseline_is_dense
    GROUP BY v.sparsity, v.settings, c.language
) ON language IN ('en', 'fr', 'sw', 'zh') USING any_value(change) GROUP BY sparsity, settings
ORDER BY sparsity, settings;
