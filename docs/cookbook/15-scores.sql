-- Which score keeps most outside English at the same demonstrations and sparsity?
-- Each row is a comparison with dense, with an interval. Two rows are not compared by a test here: for that, name one of
-- them in the recipe's `against`. Named query: `gain_over_dense_by_sparsity`.
SELECT sparsity, method, difference, ci_low, ci_high, p_corrected, n_family, n_items AS items, estimate
FROM method_differences
WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND group_kind = 'outside_english'
    AND sparsity = 0.4 AND method IN ('wanda sw-en', 'contrast sw-en', 'magnitude', 'random')
ORDER BY sparsity, difference DESC;
