-- ranked: one row per task, split, language and scoring rule that the store has rank consistencies of.
SELECT DISTINCT task, split, NULL AS metric, language, scoring_rule
FROM rank_consistency
ORDER BY ALL;
