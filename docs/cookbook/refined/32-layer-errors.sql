-- Which method changes the outputs of the layers least, and in which language?
-- The mean over layers of the squared change of the output, divided by the squared output, on the text of each language.
-- Named queries: `layer_error_by_method`, `layer_error_by_language`.
PIVOT (
    SELECT v.label, s.source_language AS language, avg(e.error::DECIMAL(28, 15)) AS error
    FROM layer_errors AS e
    JOIN described_variants AS v ON v.variant_id = e.variant_id
    JOIN demonstration_sets AS s ON s.demonstration_set_id = e.demonstration_set_id
    GROUP BY ALL
) ON language IN ('en', 'fr', 'sw', 'zh') USING any_value(error) GROUP BY label
ORDER BY label;
