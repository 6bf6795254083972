-- variant_orderings: one row per variant with keep masks: the ordering that they are read from, and the variant's level
-- in it; NULL for a composed variant, whose layers have levels of their own. If several orderings contain the variant,
-- the one with the smallest id is used; all contain the same masks.
CREATE OR REPLACE VIEW internal.variant_orderings AS
WITH sources AS (
    SELECT variant_id, ordering_id, level FROM ordering_variants
    UNION ALL
    SELECT variant_id, ordering_id, NULL FROM compositions
)
SELECT variant_id, ordering_id, level
FROM sources
QUALIFY row_number() OVER (PARTITION BY variant_id ORDER BY ordering_id, level NULLS LAST) = 1;
