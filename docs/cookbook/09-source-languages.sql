-- Which source language of the demonstrations helps which language?
-- Rows are the source languages of translation demonstrations, columns the tested languages: change of accuracy relative
-- to dense with its 95 % interval, for wanda at sparsity 0.4. Named query with tests: `source_language_effects`.
PIVOT (
    SELECT source_language AS demonstrations_from, group_name AS language,
        format('{:+.2f} ({:+.2f} to {:+.2f})', difference, ci_low, ci_high) AS change
    FROM internal.method_differences
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND group_kind = 'language' AND score = 'wanda'
        AND propagation = 'dense' AND set_kind = 'translation' AND sparsity = 0.4
) ON language IN ('fr', 'es', 'sw', 'ar') USING any_value(change) GROUP BY demonstrations_from
ORDER BY demonstrations_from;
