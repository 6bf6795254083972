-- metrics_on_dev: one row per metric of a task in a language that the store has values of on dev.
SELECT DISTINCT metric, task, language
FROM metrics
WHERE split = 'dev'
ORDER BY ALL;
