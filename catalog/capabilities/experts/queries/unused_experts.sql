-- unused_experts: one row per demonstration set and block: the experts to which no token of the set is routed. unused
-- lists them, ascending; n_unused_by_all counts those that no observed set of the model uses.
-- topic: model
-- $demonstration_set_id VARCHAR = NULL
WITH used AS (
    SELECT base_model_id, demonstration_set_id, block, expert, sum(n_routed) AS n_routed
    FROM expert_statistics
    GROUP BY base_model_id, demonstration_set_id, block, expert
),
marked AS (
    SELECT
        base_model_id,
        demonstration_set_id,
        block,
        expert,
        n_routed = 0 AS is_unused,
        sum(n_routed) OVER (PARTITION BY base_model_id, block, expert) = 0 AS is_unused_by_all
    FROM used
)
SELECT
    d.source_language, d.target_language, d.kind, u.block,
    count(*) FILTER (u.is_unused) AS n_unused,
    count(*) AS n_experts,
    string_agg(u.expert, ' ' ORDER BY u.expert) FILTER (u.is_unused) AS unused,
    count(*) FILTER (u.is_unused_by_all) AS n_unused_by_all,
    m.source AS base_model, u.demonstration_set_id, u.base_model_id
FROM marked AS u
JOIN demonstration_sets AS d ON d.demonstration_set_id = u.demonstration_set_id
LEFT JOIN base_models AS m ON m.base_model_id = u.base_model_id
WHERE $demonstration_set_id::VARCHAR IS NULL OR u.demonstration_set_id = $demonstration_set_id::VARCHAR
GROUP BY
    d.source_language, d.target_language, d.kind, m.source, u.base_model_id, u.demonstration_set_id, u.block
ORDER BY base_model, u.base_model_id, d.source_language, d.target_language, d.kind, u.demonstration_set_id, u.block;
