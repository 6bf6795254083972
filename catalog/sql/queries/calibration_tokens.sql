-- calibration_tokens: what calibration really saw. One row per variant, role of its demonstration sets and language, or with
-- by_layer per layer, too: the real tokens that reached the layer when the variant was made. Padding, and tokens that do not
-- count (token_scope), are left out. Without by_layer, the layer is the one with the fewest tokens of the language. all_tokens
-- adds all languages: fewer than n_inputs cannot determine the Gram matrix of the layer's inputs. A language is that of a
-- side of the demonstrations, other is template and special tokens; a set without a language has its kind. read_by is the
-- variant that read the sets: for derived variants and combinations, one that they were made from. n_tokens is NULL, and
-- n_unknown counts layers, where the tokens of experts were not counted. A bootstrap draws from the tokens shown. The
-- language is unknown for a checkpoint that was made elsewhere, and for a set whose file is missing.
-- topic: origin
-- $variant_id VARCHAR = NULL
-- $language VARCHAR = NULL
-- $by_layer BOOLEAN = false
WITH RECURSIVE lineages(variant_id, read_by) AS (
    SELECT variant_id, variant_id FROM variants WHERE $variant_id::VARCHAR IS NULL OR variant_id = $variant_id::VARCHAR
    UNION
    SELECT l.variant_id, p.parent_variant_id FROM lineages AS l JOIN variant_parents AS p ON p.variant_id = l.read_by
),
reads AS (
    SELECT d.variant_id AS read_by, d.role, d.demonstration_set_id
    FROM variant_demonstrations AS d
    ANTI JOIN (
        SELECT p.variant_id, e.role, e.demonstration_set_id
        FROM variant_parents AS p
        JOIN variant_demonstrations AS e ON e.variant_id = p.parent_variant_id
    ) AS e ON e.variant_id = d.variant_id AND e.role = d.role AND e.demonstration_set_id = d.demonstration_set_id
    WHERE d.variant_id IN (SELECT read_by FROM lineages)
),
chosen AS (
    SELECT
        r.*, v.base_model_id, v.propagation,
        CASE WHEN r.role IN ('calibration', 'contrast') THEN coalesce(v.token_scope, 'all') ELSE 'all' END AS token_scope,
        CASE WHEN r.role IN ('calibration', 'contrast') THEN v.n_demonstrations END AS n_demonstrations,
        r.role IN ('calibration', 'contrast') AND v.n_demonstrations IS NULL AND v.resample_seed IS NULL AS is_observed
    FROM reads AS r
    JOIN variants AS v ON v.variant_id = r.read_by
),
of_sides AS (
    SELECT
        c.read_by, c.role, coalesce(t.language, 'unknown') AS language,
        CASE
            WHEN t.language IS NULL THEN NULL
            WHEN c.token_scope = 'last_shot' THEN t.n_last_shot
            WHEN c.token_scope IN ('all', t.side) OR (c.token_scope = 'content' AND t.side != 'other') THEN t.n_tokens
            ELSE 0
        END AS n_tokens
    FROM chosen AS c
    LEFT JOIN demonstration_tokens AS t
        ON t.demonstration_set_id = c.demonstration_set_id
        AND (c.n_demonstrations IS NULL OR t.demonstration < c.n_demonstrations)
),
of_layers AS (
    SELECT read_by, role, language, sum(n_tokens)::BIGINT AS n_tokens
    FROM of_sides
    GROUP BY read_by, role, language
    HAVING sum(n_tokens) IS NULL OR sum(n_tokens) > 0
),
orderings_of AS (
    SELECT variant_id, ordering_id FROM ordering_variants
    UNION
    SELECT variant_id, ordering_id FROM compositions
),
observations AS (
    SELECT read_by, read_by AS observation_id FROM chosen WHERE propagation = 'sequential'
    UNION
    SELECT c.read_by, p.parent_id
    FROM chosen AS c
    JOIN orderings_of AS o ON o.variant_id = c.read_by
    JOIN record_parents AS p ON p.id = o.ordering_id
    WHERE c.propagation IS DISTINCT FROM 'sequential'
),
routed AS (
    SELECT
        c.read_by, c.role, c.demonstration_set_id, e.observation_id, e.block, e.language, g.expert,
        sum(e.n_tokens[g.expert + 1])::BIGINT AS n_tokens
    FROM chosen AS c
    JOIN observations AS o ON o.read_by = c.read_by
    JOIN expert_tokens AS e
        ON e.observation_id = o.observation_id AND e.demonstration_set_id = c.demonstration_set_id
    CROSS JOIN LATERAL (SELECT unnest(range(len(e.n_tokens))) AS expert) AS g
    WHERE
        c.is_observed
        AND (c.token_scope IN ('all', 'last_shot', e.side) OR (c.token_scope = 'content' AND e.side != 'other'))
    GROUP BY ALL
),
of_experts AS (
    SELECT read_by, role, block, expert, language, sum(n_tokens)::BIGINT AS n_tokens
    FROM (
        SELECT * FROM routed
        QUALIFY rank() OVER (PARTITION BY read_by, role, demonstration_set_id ORDER BY observation_id) = 1
    )
    GROUP BY ALL
),
layers AS (
    SELECT
        base_model_id, block, layer, n_in,
        try_cast(regexp_extract(layer, '\.(\d+)\.[^.]+$', 1) AS INTEGER) AS expert
    FROM model_layers
    WHERE is_pruned
),
reached AS (
    SELECT
        f.read_by, f.role, f.language, l.block, l.layer, l.n_in AS n_inputs,
        CASE WHEN l.expert IS NULL THEN f.n_tokens WHEN count(e.n_tokens) OVER (PARTITION BY f.read_by, f.role) > 0 THEN
            coalesce(e.n_tokens, 0) END AS n_tokens
    FROM of_layers AS f
    JOIN variants AS v ON v.variant_id = f.read_by
    LEFT JOIN layers AS l ON l.base_model_id = v.base_model_id
    LEFT JOIN of_experts AS e
        ON e.read_by = f.read_by AND e.role = f.role AND e.block = l.block AND e.expert = l.expert
        AND e.language = f.language
),
totals AS (
    SELECT *, sum(n_tokens) OVER (PARTITION BY read_by, role, block, layer)::BIGINT AS all_tokens,
        count(*) FILTER (WHERE n_tokens IS NULL) OVER (PARTITION BY read_by, role, language) AS n_unknown
    FROM reached
),
shown AS (
    SELECT * FROM totals
    QUALIFY $by_layer OR row_number() OVER (PARTITION BY read_by, role, language ORDER BY n_tokens, block, layer) = 1
    UNION ALL
    SELECT variant_id AS read_by, NULL, 'unknown', NULL, NULL, NULL, NULL, NULL, NULL
    FROM variants
    WHERE score = 'adopted'
)
SELECT
    v.label, s.role, s.language, s.n_tokens, s.all_tokens, s.n_inputs, s.block, s.layer, s.n_unknown, v.base_model_id,
    l.variant_id, s.read_by
FROM shown AS s
JOIN lineages AS l ON l.read_by = s.read_by
JOIN described_variants AS v ON v.variant_id = l.variant_id
WHERE $language::VARCHAR IS NULL OR s.language = $language::VARCHAR
ORDER BY v.base_model_id, v.sparsity, v.label, l.variant_id, s.read_by, s.role, s.language, s.block, s.layer;
