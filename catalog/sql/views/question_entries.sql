-- question_entries: one row per declared question and side of it, its variants or its baselines, and what all variants of
-- this side have in common
CREATE OR REPLACE VIEW internal.question_entries AS
WITH sides AS (
    SELECT question_id, 'variants' AS side, variant_id FROM question_variants
    UNION
    SELECT question_id, 'against', baseline_id FROM question_variants
),
facets AS (
    SELECT
        s.question_id, s.side, v.demonstration_label, v.sparsity, v.is_dense AS dense,
        string_split(coalesce(v.settings, ''), ', ') AS pieces,
        concat_ws(
            ' ', replace(v.score, '_', ' '),
            list_filter(pieces, lambda piece: starts_with(piece, 'refined by '))[1]
        ) AS masks,
        substr(list_filter(pieces, lambda piece: starts_with(piece, 'reconstructed on '))[1], 18) AS fit,
        CASE WHEN v.bits IS NOT NULL THEN v.bits || ' bits' END AS bits,
        CASE WHEN v.bits IS NOT NULL THEN coalesce(json_extract_string(w.quantisation, 'method'), 'nearest') END AS rounding,
        substr(list_filter(pieces, lambda piece: starts_with(piece, 'gptq on '))[1], 9) AS coded,
        CASE WHEN v.structure LIKE '%:%' THEN v.structure ELSE '' END AS n_of_m,
        CASE WHEN v.scope <> 'all' THEN json_extract(v.scope, '$.blocks')::INTEGER[] END AS blocks,
        CASE WHEN v.scope <> 'all' THEN json_extract(v.scope, '$.layers')::VARCHAR[] END AS layers,
        CASE
            WHEN len(blocks) = 1 THEN 'in block ' || blocks[1]
            WHEN list_max(blocks) - list_min(blocks) = len(blocks) - 1
            THEN 'in blocks ' || list_min(blocks) || ' to ' || list_max(blocks)
            ELSE 'in blocks ' || array_to_string(blocks, ', ')
        END AS block_words,
        concat_ws(' ', block_words, 'in layers ' || array_to_string(layers, ', ')) AS part,
        list_sort(list_filter(pieces, lambda piece: NOT regexp_matches(
            piece,
            '^$|^(refined by|reconstructed on|only|budget of|batch|steps|(mean|max|variance|pooled) over|[348] bits|gptq|nearest) ?'
        ))) AS others
    FROM sides AS s
    LEFT JOIN internal.variant_descriptions AS v ON v.variant_id = s.variant_id
    LEFT JOIN variants AS w ON w.variant_id = s.variant_id
)
SELECT
    question_id, side,
    coalesce(
        list_sort(list(DISTINCT demonstration_label) FILTER (demonstration_label IS NOT NULL)), []
    ) AS texts,
    coalesce(list(DISTINCT fit) FILTER (fit IS NOT NULL), []) AS fitted_on,
    coalesce(list(DISTINCT coded) FILTER (coded IS NOT NULL), []) AS coded_on,
    any_value(rounding) AS rounding,
    any_value(bits) AS bits,
    any_value(masks) AS method,
    any_value(n_of_m) AS pattern,
    any_value(part) AS place,
    any_value(others) AS extras,
    list_sort(list(DISTINCT sparsity)) AS sparsities,
    bool_and(coalesce(dense, false)) AS is_dense,
    count(DISTINCT (masks, coalesce(fit, ''), n_of_m, part, others, coalesce(rounding, ''), coalesce(bits, ''))) = 1
        AND bool_and(masks <> '' OR dense OR bits IS NOT NULL) AS is_uniform
FROM facets
GROUP BY question_id, side;
-- side: variants or against
-- texts: labels of the demonstration sets that chose the weights, sorted
-- fitted_on: label of the sets that reconstruction read; empty without reconstruction
-- coded_on: label of the sets that gptq read
-- rounding: gptq or nearest; NULL for weights that are not rounded
-- bits: bits of a rounded weight, such as 4 bits
-- method: score and refiner of the masks; empty for quantised variants without masks
-- pattern: N:M; empty for other structures
-- place: the only blocks and layers that are pruned; empty for all
-- extras: other settings that are not at their defaults
-- sparsities: the sparsities, ascending
-- is_uniform: whether its variants differ in nothing but texts, sparsity and seeds
