-- Which languages rank the candidates of a fact similarly?
-- RankC of the dense model on the test half; 1 means the same ranking everywhere, `chance` is the value of unrelated
-- rankings. Named query with intervals, tests and the permutation baseline: `rank_consistency_matrix`.
PIVOT (
    SELECT r.language, r.reference_language, round(r.chance, 3) AS chance, round(r.value, 3) AS rankc
    FROM rank_consistency_by_language AS r
    JOIN described_variants AS v ON v.variant_id = r.variant_id
    WHERE r.task = 'facts' AND r.split = 'test' AND v.is_dense
) ON reference_language IN ('en', 'fr', 'es', 'zh', 'sw', 'ar') USING any_value(rankc) GROUP BY language, chance
ORDER BY language;
