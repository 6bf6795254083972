-- labels: one row per variant: how it is described.
SELECT variant_id, label
FROM internal.variant_descriptions
ORDER BY variant_id;
