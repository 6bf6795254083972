-- variant_names: one row per label that stands for a variant, and the variant: the label, and labels that it has in
-- catalogs with other base models. is_current says whether it is the label of this catalog; another one may stand for
-- several variants.
CREATE OR REPLACE VIEW internal.variant_names AS
WITH parts AS (
    SELECT
        v.variant_id, v.label, m.name, m.source,
        CASE WHEN starts_with(v.label, m.name || ', ') THEN substr(v.label, length(m.name) + 3) ELSE v.label END AS own
    FROM internal.variant_descriptions AS v
    LEFT JOIN internal.described_models AS m ON m.base_model_id = v.base_model_id
),
others AS (
    SELECT DISTINCT variant_id, unnest([own, name || ', ' || own, source || ', ' || own]) AS name FROM parts
)
SELECT label AS name, variant_id, true AS is_current FROM parts
UNION ALL
SELECT o.name, o.variant_id, false
FROM others AS o
ANTI JOIN parts AS p ON p.label = o.name
WHERE o.name IS NOT NULL;
-- name: the label
-- is_current: whether it is the label of this catalog
