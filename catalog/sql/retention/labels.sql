-- labels: one row per variant: how it is described.
SELECT variant_id, label
FROM variant_descriptions
ORDER BY variant_id;
