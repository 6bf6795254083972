-- ratios: one row per method: perplexity relative to the dense model in each language, the mean over draws with its 95 %
-- interval.
WITH named AS (SELECT DISTINCT name, id FROM names WHERE kind = 'variant'),
ratios AS (
    SELECT
        n.name || coalesce(' ' || v.bits || ' bits', '') AS name, d.sparsity, d.structure, d.group_name, d.difference,
        format(
            CASE WHEN exp(d.difference) < 10 THEN '{:.2f} ({:.2f}-{:.2f})' ELSE '{:.0f} ({:.0f}-{:.0f})' END,
            exp(d.difference), exp(d.ci_low), exp(d.ci_high)
        ) AS ratio
    FROM internal.method_differences AS d
    JOIN named AS n ON n.id = d.variant_ids[1]
    JOIN variants AS v ON v.variant_id = n.id
    WHERE d.metric = 'perplexity' AND d.group_kind = 'language'
)
SELECT
    name,
    max(ratio) FILTER (group_name = 'en') AS en,
    max(ratio) FILTER (group_name = 'fr') AS fr,
    max(ratio) FILTER (group_name = 'sw') AS sw,
    max(ratio) FILTER (group_name = 'zh') AS zh
FROM ratios
GROUP BY name, sparsity, structure
ORDER BY sparsity, structure DESC, max(difference) FILTER (group_name = 'en');
