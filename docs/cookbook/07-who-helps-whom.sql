-- Which source language of the demonstrations helps which language?
-- Rows are source languages of the demonstrations, columns are tested languages. Values are mean changes of accuracy
-- relative to dense, for wanda at sparsities 0.3 and 0.4; negative values are losses. Named query:
-- `source_language_effects`.
PIVOT (
    SELECT source_language AS demonstrations_from, language, round(avg(difference), 3) AS change
    FROM gain_over_dense
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy'
        AND score = 'wanda' AND set_kind = 'translation' AND sparsity IN (0.3, 0.4)
    GROUP BY source_language, language
) ON language IN ('en', 'fr', 'es', 'zh', 'sw', 'ar') USING any_value(change) GROUP BY demonstrations_from
ORDER BY demonstrations_from;
