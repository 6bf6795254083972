-- costs: one row per method: CPU seconds and memory of pruning one variant, the mean over draws. What is observed once for
-- all methods is not included.
WITH totals AS (
    SELECT variant_id, sum(prune_cpu_s) AS cpu_s, max(prune_memory_gib) AS memory_gib
    FROM costs
    GROUP BY variant_id
)
SELECT n.name, avg(t.cpu_s) AS cpu_s, max(t.memory_gib) AS memory_gib, count(*) AS variants
FROM (SELECT DISTINCT name, id FROM names WHERE kind = 'variant') AS n
JOIN totals AS t ON t.variant_id = n.id
JOIN variants AS v ON v.variant_id = n.id
WHERE v.sparsity > 0
GROUP BY n.name
ORDER BY cpu_s DESC;
