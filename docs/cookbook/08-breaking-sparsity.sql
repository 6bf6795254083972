-- At which sparsity does a language break?
-- The method falls significantly below dense between the two sparsities. Without the second, no evaluated sparsity is
-- below: differences smaller than `detectable` would not have been seen. Named query: `breaking_sparsity_by_language`.
SELECT language, last_not_below AS above, first_below AS up_to, difference, p_corrected, detectable_difference AS detectable,
    n, n_family
FROM breaking_sparsity
WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND method = 'wanda sw-en'
ORDER BY first_below, language;
