-- At which sparsity does a language break?
-- `up_to` is the first sparsity at which a loss is shown. That none is shown up to `above` does not prove that it is
-- intact there: a test of this family finds a true loss of `detectable` in 80 % of experiments, smaller ones less
-- often. Named queries: `breaking_sparsity_by_language`, and `sparsity_curve_by_language` for the curve.
SELECT language, last_not_below AS above, first_below AS up_to, difference, p_corrected, detectable_difference AS detectable,
    n, n_family
FROM internal.breaking_sparsity
WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND method = 'wanda sw-en'
ORDER BY first_below, language;
