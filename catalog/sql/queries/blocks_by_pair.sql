-- blocks_by_pair: one row per block and variant that read one demonstration set: how much of the block a language pair
-- (or language, or other text) needs. kept_share is the fraction of the block's weights that is kept, kept_more its
-- difference from the mean over all pairs, and place the block's rank in the variant (1 keeps most). These three differ
-- between pairs only under schedule owl, which derives sparsities from the text. mean_jaccard is the similarity of the
-- removed weights to those of the other pairs (n_pairs of them), jaccard_by_chance the value for unrelated masks of
-- these sizes, and least_alike the most different pair. Pairs are compared if their variants differ in nothing but the
-- languages of a set.
-- topic: masks
-- $sparsity DOUBLE = NULL
-- $score VARCHAR = NULL
-- $kind VARCHAR = NULL
WITH asked AS (
    SELECT *
    FROM described_variants
    WHERE demonstration_set_id IS NOT NULL
        AND combination IS NULL
        AND ($sparsity::DOUBLE IS NULL OR sparsity = $sparsity::DOUBLE)
        AND ($score::VARCHAR IS NULL OR score = $score::VARCHAR)
        AND ($kind::VARCHAR IS NULL OR set_kind = $kind::VARCHAR)
),
blocks AS (
    SELECT
        l.variant_id, l.block,
        sum(l.n_weights)::BIGINT AS n_weights,
        1 - sum(l.n_removed) / nullif(sum(l.n_weights), 0) AS kept_share
    FROM variant_layers AS l
    JOIN asked AS v ON v.variant_id = l.variant_id
    GROUP BY l.variant_id, l.block
),
sides AS (
    SELECT p.variant_a, p.variant_b, p.variant_a AS variant_id, p.variant_b AS other_id
    FROM internal.mask_pairs AS p
    WHERE p.differs_in = 'sets'
    UNION ALL
    SELECT p.variant_a, p.variant_b, p.variant_b, p.variant_a
    FROM internal.mask_pairs AS p
    WHERE p.differs_in = 'sets'
),
pairs AS (
    SELECT
        s.variant_id, other.demonstration_label, o.block,
        sum(x.n_removed)::BIGINT AS n_own,
        sum(y.n_removed)::BIGINT AS n_other,
        sum(round(o.jaccard / (1 + o.jaccard) * (x.n_removed + y.n_removed)))::BIGINT AS n_both,
        sum(x.n_removed * y.n_removed / nullif(x.n_weights, 0)) AS n_both_by_chance
    FROM sides AS s
    JOIN asked AS v ON v.variant_id = s.variant_id
    JOIN asked AS other ON other.variant_id = s.other_id
    JOIN mask_overlaps AS o ON o.variant_a = s.variant_a AND o.variant_b = s.variant_b
    JOIN variant_layers AS x ON x.variant_id = s.variant_id AND x.block = o.block AND x.layer = o.layer
    JOIN variant_layers AS y ON y.variant_id = s.other_id AND y.block = o.block AND y.layer = o.layer
    WHERE other.set_kind = v.set_kind
        AND other.seed IS NOT DISTINCT FROM v.seed
        AND other.settings_id = v.settings_id
        AND other.demonstration_label <> v.demonstration_label
    GROUP BY s.variant_id, s.other_id, other.demonstration_label, o.block
),
alike AS (
    SELECT
        variant_id, block, demonstration_label,
        coalesce(n_both / nullif(n_own + n_other - n_both, 0), 1) AS jaccard,
        coalesce(n_both_by_chance / nullif(n_own + n_other - n_both_by_chance, 0), 1) AS by_chance
    FROM pairs
),
compared AS (
    SELECT
        variant_id, block,
        count(*) AS n_pairs,
        avg(jaccard ORDER BY demonstration_label, jaccard) AS mean_jaccard,
        avg(by_chance ORDER BY demonstration_label, by_chance) AS jaccard_by_chance,
        first(demonstration_label ORDER BY jaccard, demonstration_label) AS least_alike
    FROM alike
    GROUP BY variant_id, block
)
SELECT
    v.label, b.block, b.kept_share,
    round(b.kept_share - avg(b.kept_share) OVER alike_made, 12) AS kept_more,
    rank() OVER (PARTITION BY b.variant_id ORDER BY round(b.kept_share, 12) DESC) AS place,
    o.mean_jaccard, o.jaccard_by_chance, o.least_alike, o.n_pairs, b.n_weights,
    v.demonstration_label, v.set_kind, v.score, v.sparsity, v.propagation, v.structure, v.settings, v.seed,
    m.source AS base_model, b.variant_id, v.base_model_id
FROM blocks AS b
JOIN asked AS v ON v.variant_id = b.variant_id
LEFT JOIN compared AS o ON o.variant_id = b.variant_id AND o.block = b.block
LEFT JOIN base_models AS m ON m.base_model_id = v.base_model_id
WINDOW alike_made AS (
    PARTITION BY
        v.base_model_id, v.score, v.structure, v.propagation, v.sparsity, v.settings, v.set_kind, v.seed, b.block
)
ORDER BY
    base_model, v.base_model_id, v.score, v.structure, v.propagation, v.sparsity, v.settings NULLS FIRST,
    v.set_kind, v.demonstration_label, v.seed, b.variant_id, b.block;
