-- missing_powers: one row per size of a family, number of items and of changed items that `test_powers` lacks
SELECT n_family, n_items, n_changed
FROM ({needed_powers})
ANTI JOIN internal.test_powers USING (n_family, n_items, n_changed)
ORDER BY ALL;
