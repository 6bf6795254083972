-- variant_orderings: one row per variant with keep masks: the ordering that they are read from, and the variant's level
-- in it. If several orderings contain the variant, the one with the smallest id is used; all contain the same masks.
CREATE OR REPLACE VIEW variant_orderings AS
SELECT variant_id, min(ordering_id) AS ordering_id, arg_min(level, ordering_id) AS level
FROM ordering_variants
GROUP BY variant_id;
