-- language_specific_neurons: neurons that are active for one language. One row per base model, language and block: the
-- language-specific feed-forward neurons of the block by LAPE (Tang et al. 2024, arXiv 2402.16438). A neuron is active at a
-- token if its activation is above 0; p is the fraction of a language's tokens at which it is active, over all sets of the
-- language that were counted (code counts as a language). Candidates are the neurons whose p exceeds the given quantile of
-- all p in some language. Of these the neurons with the lowest entropy of p over the languages are chosen, as many as the
-- given share of all neurons (ties: the lower block, then the lower neuron). A chosen neuron belongs to the languages in
-- which its p exceeds the quantile. neurons lists them, the lowest entropy first. For a variant whose removals were counted:
-- the fraction of the weights into these neurons (removed_before) and out of them (removed_after) that its masks remove, and
-- the same for all neurons of the block (block_removed_before, block_removed_after).
-- topic: model
-- $share DOUBLE = 0.01
-- $quantile DOUBLE = 0.95
-- $kind VARCHAR = NULL
-- $seed INTEGER = NULL
-- $variant_id VARCHAR = NULL
WITH counted AS (
    SELECT
        a.base_model_id,
        coalesce(s.source_language, s.kind) AS language,
        a.block,
        a.n_tokens,
        unnest(a.n_active) AS n_active,
        generate_subscripts(a.n_active, 1) - 1 AS neuron
    FROM neuron_activity AS a
    JOIN demonstration_sets AS s ON s.demonstration_set_id = a.demonstration_set_id
    WHERE ($kind::VARCHAR IS NULL OR s.kind = $kind::VARCHAR) AND ($seed::INTEGER IS NULL OR s.seed = $seed::INTEGER)
),
probabilities AS (
    SELECT base_model_id, language, block, neuron, sum(n_active) / sum(n_tokens) AS p
    FROM counted
    GROUP BY base_model_id, language, block, neuron
),
limits AS (
    SELECT
        base_model_id,
        list(p ORDER BY p)[greatest(1, round_even($quantile::DOUBLE * count(*), 0))::BIGINT] AS threshold
    FROM probabilities
    GROUP BY base_model_id
),
profiles AS (
    SELECT base_model_id, block, neuron, max(p) AS highest, sum(p ORDER BY language) AS total, list(p ORDER BY language) AS ps
    FROM probabilities
    GROUP BY base_model_id, block, neuron
),
ranked AS (
    SELECT
        f.base_model_id,
        f.block,
        f.neuron,
        l.threshold,
        f.highest > l.threshold AS is_active,
        list_sum(
            list_transform(f.ps, lambda p: CASE WHEN p > 0 THEN -p / f.total * ln(p / f.total) ELSE 0 END)
        ) AS entropy,
        count(*) OVER (PARTITION BY f.base_model_id) AS n_all
    FROM profiles AS f
    JOIN limits AS l ON l.base_model_id = f.base_model_id
),
chosen AS (
    SELECT base_model_id, block, neuron, threshold, entropy
    FROM ranked
    WHERE is_active
    QUALIFY row_number() OVER (PARTITION BY base_model_id ORDER BY entropy, block, neuron)
        <= round_even($share::DOUBLE * n_all, 0)
),
assigned AS (
    SELECT c.base_model_id, p.language, c.block, c.neuron, c.entropy, p.p
    FROM chosen AS c
    JOIN probabilities AS p
        ON p.base_model_id = c.base_model_id AND p.block = c.block AND p.neuron = c.neuron AND p.p > c.threshold
),
blocks AS (
    SELECT base_model_id, language, block, count(*) AS n_in_block
    FROM probabilities
    GROUP BY base_model_id, language, block
),
removals AS (
    SELECT
        v.base_model_id,
        r.block,
        unnest(r.removed_before) / r.n_before AS incoming,
        unnest(r.removed_after) / r.n_after AS outgoing,
        generate_subscripts(r.removed_before, 1) - 1 AS neuron
    FROM neuron_removals AS r
    JOIN variants AS v ON v.variant_id = r.variant_id
    WHERE r.variant_id = $variant_id::VARCHAR
),
block_removals AS (
    SELECT base_model_id, block, avg(incoming ORDER BY neuron) AS incoming, avg(outgoing ORDER BY neuron) AS outgoing
    FROM removals
    GROUP BY base_model_id, block
)
SELECT
    b.language,
    b.block,
    count(a.neuron) AS n_neurons,
    count(a.neuron) / b.n_in_block AS share_of_block,
    avg(a.p ORDER BY a.neuron) AS mean_probability,
    string_agg(a.neuron, ' ' ORDER BY a.entropy, a.neuron) AS neurons,
    avg(r.incoming ORDER BY a.neuron) AS removed_before,
    avg(r.outgoing ORDER BY a.neuron) AS removed_after,
    any_value(w.incoming) AS block_removed_before,
    any_value(w.outgoing) AS block_removed_after,
    m.source AS base_model,
    b.base_model_id
FROM blocks AS b
LEFT JOIN assigned AS a
    ON a.base_model_id = b.base_model_id AND a.language = b.language AND a.block = b.block
LEFT JOIN removals AS r
    ON r.base_model_id = a.base_model_id AND r.block = a.block AND r.neuron = a.neuron
LEFT JOIN block_removals AS w ON w.base_model_id = b.base_model_id AND w.block = b.block
LEFT JOIN base_models AS m ON m.base_model_id = b.base_model_id
GROUP BY m.source, b.base_model_id, b.language, b.block, b.n_in_block
ORDER BY base_model, b.base_model_id, b.language, b.block;
