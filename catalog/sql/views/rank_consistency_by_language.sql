-- rank_consistency_by_language: one row per row of rank_consistency and order of its two languages, for averages over the
-- pairs of a language and for matrices. RankC is symmetric.
CREATE OR REPLACE VIEW internal.rank_consistency_by_language AS
SELECT
    variant_id, task, split, scoring_rule, example_limit, protocol_id, profile, language, reference_language, value,
    ci_low, ci_high, chance, corrected, n_items, n_skipped, evaluation_id, reference_evaluation_id
FROM rank_consistency
UNION ALL
SELECT
    variant_id, task, split, scoring_rule, example_limit, protocol_id, profile, reference_language, language, value,
    ci_low, ci_high, chance, corrected, n_items, n_skipped, reference_evaluation_id, evaluation_id
FROM rank_consistency;
