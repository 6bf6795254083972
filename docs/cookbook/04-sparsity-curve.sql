-- How does accuracy fall with sparsity, by language?
-- Wanda with translation demonstrations, mean over their source languages; sparsity 0 is the dense model. `PIVOT`
-- needs an explicit list of columns (`IN`). Named query: `sparsity_curve_by_language`.
PIVOT (
    SELECT sparsity, language, round(avg(value), 3) AS accuracy
    FROM sparsity_curve
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy'
        AND score = 'wanda' AND propagation = 'dense' AND set_kind = 'translation'
    GROUP BY sparsity, language
) ON language IN ('en', 'fr', 'es', 'zh', 'sw', 'ar') USING any_value(accuracy) GROUP BY sparsity
ORDER BY sparsity;
