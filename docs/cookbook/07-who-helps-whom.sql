-- Which source language of the demonstrations helps which language?
-- A row is the language that the demonstrations translate from, a column the language that is tested: the mean change of
-- accuracy against dense, of wanda at sparsities 0.3 and 0.4. Below 0 it was lost.
-- Ready-made: `source_language_effects`.
PIVOT (
    SELECT source_language AS demonstrations_from, language, round(avg(difference), 3) AS change
    FROM gain_over_dense
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy'
        AND score = 'wanda' AND set_kind = 'translation' AND sparsity IN (0.3, 0.4)
    GROUP BY source_language, language
) ON language IN ('en', 'fr', 'es', 'zh', 'sw', 'ar') USING any_value(change) GROUP BY demonstrations_from
ORDER BY demonstrations_from;
