-- measured_tasks: one row per task and split, with the metrics that the store has for it.
SELECT task, split, string_agg(metric, ', ' ORDER BY metric) AS metrics
FROM (SELECT DISTINCT task, split, metric FROM metrics) AS m
GROUP BY task, split
ORDER BY task, split;
