-- variant_ancestors: one row per variant and record that it was made from, directly or indirectly: its ordering of
-- weights, the ordering's statistics, their demonstration sets, and for a combined variant its parents with all of
-- their ancestors.
CREATE OR REPLACE VIEW internal.variant_ancestors AS
WITH RECURSIVE edges AS (
    SELECT id, parent_id FROM record_parents
    UNION ALL
    SELECT variant_id AS id, ordering_id AS parent_id FROM ordering_variants
    UNION ALL
    SELECT variant_id AS id, composition_id AS parent_id FROM compositions
),
ancestors(variant_id, id) AS (
    SELECT v.variant_id, e.parent_id FROM variants AS v JOIN edges AS e ON e.id = v.variant_id
    UNION
    SELECT a.variant_id, e.parent_id FROM ancestors AS a JOIN edges AS e ON e.id = a.id
)
SELECT a.variant_id, r.kind, a.id
FROM ancestors AS a
JOIN records AS r ON r.id = a.id;
-- variant_id: the variant
