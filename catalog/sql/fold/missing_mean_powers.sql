-- missing_mean_powers: one row per answer and size of its family that `mean_powers` lacks, with the parts of its error
SELECT *
FROM ({needed_mean_powers})
ANTI JOIN internal.mean_powers USING (question_id, n_family)
ORDER BY ALL;
