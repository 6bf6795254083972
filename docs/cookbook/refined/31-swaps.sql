-- Which language pays for the swaps of a refined mask?
-- The errors of the layers on the text of each language, before and after the swaps: rank 1 gains least. The second
-- variant weights English nine times. Named queries: `refinement_by_language`, and `refinement_by_layer` for each layer.
WITH changes AS (
    SELECT variant_id, demonstration_set_id, count(*) AS layers, count(*) FILTER (error_after > error_before) AS worse,
        avg((error_after / error_before - 1)::DECIMAL(28, 15)) AS change
    FROM refined_layers
    GROUP BY ALL
)
SELECT v.settings AS variant, s.source_language AS language, c.change, rank() OVER (
        PARTITION BY c.variant_id ORDER BY c.change DESC) AS rank, c.layers, c.worse
FROM changes AS c
JOIN described_variants AS v ON v.variant_id = c.variant_id
JOIN demonstration_sets AS s ON s.demonstration_set_id = c.demonstration_set_id
ORDER BY v.settings, rank;
