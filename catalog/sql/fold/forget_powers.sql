-- forget_powers: deletes the rows of `test_powers` that no view looks up any more, because families have grown
DELETE FROM internal.test_powers WHERE (n_family, n_items, n_changed) NOT IN ({needed_powers});
