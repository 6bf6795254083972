-- method_order: one row per method of the store and its demonstrations, in the order of figures. method is its text.
SELECT DISTINCT
    coalesce(score, combination) AS score, set_kind, propagation, structure, settings, intervention, method
FROM variant_descriptions
WHERE NOT is_dense
ORDER BY
    score DESC NULLS FIRST, set_kind DESC, propagation DESC, structure, settings NULLS FIRST, intervention, method;
