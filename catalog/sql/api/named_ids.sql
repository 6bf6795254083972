-- named_ids: one row per name of a variant or demonstration set and what it stands for, of the names that begin with
-- $beginning: ids, labels, and names in recipes, alone and as recipe/name. is_former marks a label that the variant has in
-- catalogs with other base models.
WITH named AS (
    SELECT name, id, 1 AS place FROM names WHERE kind = $kind
    UNION
    SELECT recipe || '/' || name AS name, id, 2 AS place FROM names WHERE kind = $kind
    UNION
    SELECT name, variant_id AS id, CASE WHEN is_current THEN 0 ELSE 4 END AS place
    FROM internal.variant_names
    WHERE $kind = 'variant'
    UNION
    SELECT label AS name, demonstration_set_id AS id, 0 AS place
    FROM internal.described_sets
    WHERE $kind = 'demonstration_set'
    UNION
    SELECT variant_id AS name, variant_id AS id, 3 AS place FROM variants WHERE $kind = 'variant'
    UNION
    SELECT demonstration_set_id AS name, demonstration_set_id AS id, 3 AS place
    FROM demonstration_sets
    WHERE $kind = 'demonstration_set'
)
SELECT name, id, min(place) = 4 AS is_former
FROM named
WHERE starts_with(name, $beginning)
GROUP BY name, id
ORDER BY min(place), name, id;
