-- translation_quality: one row per variant, language pair and split: BLEU, chrF and the share of exact matches with their
-- 95 % intervals, and the changes of chrF and exact match from dense, with intervals and p-values after Holm's correction
-- over the family of the comparison
-- title: Translation quality
-- anchor: translation
-- explanation: BLEU, chrF and exact matches of greedy translations with 95 % intervals, as fractions; higher is better.
-- Changes are paired differences to dense; p is corrected by Holm's method over the family of the comparison.
-- empty: No translation was evaluated. An entry under evaluations with task: translation and pairs fills this table.
-- column pair: pair
-- column split: split
-- column label: variant
-- column n: items
-- column bleu: BLEU [bleu_low, bleu_high]
-- column chrf: chrF [chrf_low, chrf_high]
-- column chrf_change: chrF change [chrf_change_low, chrf_change_high]
-- column chrf_p_corrected: p, corrected
-- column exact_match: exact match [exact_match_low, exact_match_high]
-- column exact_match_change: exact match change [exact_match_change_low, exact_match_change_high]
-- column exact_match_p_corrected: p, corrected
WITH changes AS (
    SELECT evaluation_id, metric, difference, ci_low, ci_high, p_corrected
    FROM internal.against_dense
    WHERE group_kind = 'language' AND task = 'translation' AND metric IN ('chrf', 'exact_match')
    QUALIFY row_number() OVER (PARTITION BY evaluation_id, metric ORDER BY baseline_evaluation_id) = 1
)
SELECT
    b.name AS base_model, m.language AS pair, m.split, v.label,
    coalesce(v.score, v.combination) AS score, v.intervention, v.set_kind, v.demonstration_label, v.seed, v.propagation,
    v.structure, v.settings, v.sparsity,
    max(m.value) FILTER (WHERE m.metric = 'bleu') AS bleu,
    max(m.ci_low) FILTER (WHERE m.metric = 'bleu') AS bleu_low,
    max(m.ci_high) FILTER (WHERE m.metric = 'bleu') AS bleu_high,
    max(m.value) FILTER (WHERE m.metric = 'chrf') AS chrf,
    max(m.ci_low) FILTER (WHERE m.metric = 'chrf') AS chrf_low,
    max(m.ci_high) FILTER (WHERE m.metric = 'chrf') AS chrf_high,
    max(c.difference) FILTER (WHERE c.metric = 'chrf') AS chrf_change,
    max(c.ci_low) FILTER (WHERE c.metric = 'chrf') AS chrf_change_low,
    max(c.ci_high) FILTER (WHERE c.metric = 'chrf') AS chrf_change_high,
    max(c.p_corrected) FILTER (WHERE c.metric = 'chrf') AS chrf_p_corrected,
    max(m.value) FILTER (WHERE m.metric = 'exact_match') AS exact_match,
    max(m.ci_low) FILTER (WHERE m.metric = 'exact_match') AS exact_match_low,
    max(m.ci_high) FILTER (WHERE m.metric = 'exact_match') AS exact_match_high,
    max(c.difference) FILTER (WHERE c.metric = 'exact_match') AS exact_match_change,
    max(c.ci_low) FILTER (WHERE c.metric = 'exact_match') AS exact_match_change_low,
    max(c.ci_high) FILTER (WHERE c.metric = 'exact_match') AS exact_match_change_high,
    max(c.p_corrected) FILTER (WHERE c.metric = 'exact_match') AS exact_match_p_corrected,
    max(m.n) AS n,
    m.variant_id, m.evaluation_id
FROM measured AS m
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN internal.described_models AS b ON b.base_model_id = m.base_model_id
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
LEFT JOIN changes AS c ON c.evaluation_id = m.evaluation_id AND c.metric = m.metric
WHERE m.task = 'translation'
GROUP BY ALL
ORDER BY base_model, pair, m.split, v.sparsity, score DESC NULLS FIRST, v.label, m.variant_id, m.evaluation_id;
