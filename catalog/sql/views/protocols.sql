-- protocols: one row per evaluation setup: how a task is evaluated, apart from variant, language, split, scoring
-- rule and number of examples.
CREATE OR REPLACE VIEW internal.protocols AS
WITH used AS (
    SELECT
        protocol_id, task, prompts, limit_seed, n_shots, shot_seed, max_new_tokens, metric_names, subset_n_asked,
        subset_sha256, profile, other_shots, split_by, longer,
        chat_template_sha256, chat_system
    FROM evaluations
    UNION
    SELECT
        protocol_id, task, prompts, limit_seed, n_shots, shot_seed, max_new_tokens, metric_names, subset_n_asked,
        subset_sha256, profile, NULL, split_by, longer,
        chat_template_sha256, chat_system
    FROM lrp2_trials
)
SELECT
    *,
    nullif(concat_ws(', ', protocol_without_metrics, 'metrics ' || array_to_string(metric_names, ' ')), '') AS protocol
FROM (
    SELECT
        *,
        nullif(concat_ws(', ',
            CASE WHEN profile = 'paper' THEN 'paper profile' END,
            CASE WHEN prompts = 'native' THEN 'native prompts' END,
            CASE WHEN limit_seed <> 0 THEN 'limit seed ' || limit_seed END,
            CASE WHEN n_shots <> 4 THEN n_shots || ' shots' END,
            'split by ' || split_by,
            CASE longer WHEN 'skip' THEN 'without longer items' WHEN 'truncate_left' THEN 'longer items cut' END,
            'chat (' || chat_template_sha256[:8] || ')',
            'system text ' || chat_system[:40],
            CASE WHEN other_shots THEN 'shots of another text' END,
            CASE WHEN shot_seed <> 0 THEN 'shot seed ' || shot_seed END,
            CASE WHEN max_new_tokens <> 64 THEN 'at most ' || max_new_tokens || ' new tokens' END,
            'subset of ' || subset_n_asked || ' (' || subset_sha256[:8] || ')'
        ), '') AS protocol_without_metrics
    FROM used
);
-- protocol: text for the settings that are not defaults; NULL if all are
-- protocol_without_metrics: the same without the metrics that were computed instead of those of the task
