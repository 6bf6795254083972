-- forget_mean_powers: deletes the rows of `mean_powers` that no view looks up any more, because families have grown
DELETE FROM internal.mean_powers WHERE (question_id, n_family) NOT IN (SELECT (question_id, n_family) FROM ({needed_mean_powers}));
