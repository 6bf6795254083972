-- live_labels: one row per variant, with the label by which the page names it
SELECT variant_id, label FROM internal.variant_descriptions ORDER BY variant_id;
