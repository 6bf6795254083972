-- Does the model still translate?
-- chrF of each pair, with the paired difference from dense. Named query: `values_by_variant` with
-- `task=translation`, or `task=perplexity` for plain text.
SELECT label, language AS pair, baseline_value AS dense, difference, ci_low, ci_high, p_corrected, n_family, n_items AS n
FROM differences
WHERE task = 'translation' AND metric = 'chrf' AND group_kind = 'language' AND method IN ('wanda sw-en', 'magnitude')
    AND baseline_is_dense
ORDER BY label, language;
