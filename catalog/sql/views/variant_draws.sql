-- variant_draws: one row per variant: how many draws of it (of demonstrations, or of the random score) were compared
-- with dense. All intervals of a single variant are conditional on its draw. With one draw nothing says how much another
-- draw would change; with more, the query seed_variance does.
CREATE OR REPLACE VIEW internal.variant_draws AS
WITH repeated AS (
    SELECT unnest(variant_ids) AS variant_id, n_seeds
    FROM seed_components
    WHERE seed_of IN ('demonstrations', 'score')
),
draws AS (
    SELECT
        v.variant_id,
        v.seed IS NOT NULL OR v.demonstration_label IS NOT NULL AS has_draws,
        max(r.n_seeds) AS n_repeated
    FROM internal.variant_descriptions AS v
    LEFT JOIN repeated AS r ON r.variant_id = v.variant_id
    GROUP BY ALL
)
SELECT
    variant_id,
    CASE WHEN has_draws THEN coalesce(n_repeated, 1) ELSE 0 END AS n_draws,
    has_draws AND n_repeated IS NULL AS conditional_on_one_draw
FROM draws;
-- n_draws: number of seeds of the same method and sparsity that were evaluated together; 0 if nothing is drawn
-- conditional_on_one_draw: whether something is drawn and there is a single draw
-- variant_id: the variant
