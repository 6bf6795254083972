-- How does accuracy fall with sparsity, by language?
-- Wanda with demonstrations of translation from Swahili; sparsity 0 is the dense model. `PIVOT` needs an explicit list of
-- columns (`IN`). Named query with intervals: `sparsity_curve_by_language`.
PIVOT (
    SELECT sparsity, language, value, n
    FROM sparsity_curve
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND method = 'wanda sw-en'
) ON language IN ('en', 'fr', 'es', 'sw', 'ar') USING any_value(value) GROUP BY sparsity, n
ORDER BY sparsity;
