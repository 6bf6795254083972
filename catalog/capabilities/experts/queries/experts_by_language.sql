-- experts_by_language: how much each language uses each expert. One row per base model, language, block and expert, over all
-- sets and roles of the language that were observed; only_unused: those to which no token of the language is routed.
-- frequency is the fraction of the language's tokens that are routed to the expert, gate_mass the sum of their gate weights
-- per token, contribution the sum of gate weight times norm of the expert's output per token. share_of_languages is the
-- frequency divided by the sum of the frequencies of all languages: 1 for an expert that no other language uses. rank is
-- that of the frequency in the block.
-- topic: model
-- $language VARCHAR = NULL
-- $kind VARCHAR = NULL
-- $seed INTEGER = NULL
-- $only_unused BOOLEAN = false
WITH used AS (
    SELECT
        e.base_model_id,
        e.language,
        e.block,
        e.expert,
        sum(e.n_tokens) AS n_tokens,
        sum(e.n_routed) AS n_routed,
        sum(e.n_routed) / sum(e.n_tokens) AS frequency,
        sum(e.gate_sum ORDER BY e.expert_statistics_id, e.role) / sum(e.n_tokens) AS gate_mass,
        sum(e.gate_norm_sum ORDER BY e.expert_statistics_id, e.role) / sum(e.n_tokens) AS contribution
    FROM expert_statistics AS e
    JOIN demonstration_sets AS s ON s.demonstration_set_id = e.demonstration_set_id
    WHERE
        e.language IS NOT NULL
        AND ($kind::VARCHAR IS NULL OR s.kind = $kind::VARCHAR)
        AND ($seed::INTEGER IS NULL OR s.seed = $seed::INTEGER)
    GROUP BY e.base_model_id, e.language, e.block, e.expert
),
totals AS (
    SELECT base_model_id, block, expert, sum(frequency ORDER BY language) AS frequency
    FROM used
    GROUP BY base_model_id, block, expert
),
compared AS (
    SELECT
        u.*,
        u.frequency / nullif(t.frequency, 0) AS share_of_languages,
        rank() OVER (PARTITION BY u.base_model_id, u.language, u.block ORDER BY u.n_routed DESC) AS rank
    FROM used AS u
    JOIN totals AS t USING (base_model_id, block, expert)
)
SELECT
    c.language, c.block, c.expert, c.frequency, c.share_of_languages, c.rank, c.gate_mass, c.contribution,
    c.n_routed, c.n_tokens, m.source AS base_model, c.base_model_id
FROM compared AS c
LEFT JOIN base_models AS m ON m.base_model_id = c.base_model_id
WHERE ($language::VARCHAR IS NULL OR c.language = $language::VARCHAR) AND NOT ($only_unused AND c.n_routed > 0)
ORDER BY base_model, c.base_model_id, c.language, c.share_of_languages DESC NULLS LAST, c.frequency DESC, c.block, c.expert;
