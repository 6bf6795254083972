-- evaluated: one row per task, split, metric, language and scoring rule that the store has values of.
SELECT DISTINCT task, split, metric, language, scoring_rule
FROM metrics
ORDER BY ALL;
