-- item_flow: one row per task, language, split and number of evaluated items: how many rows or lines were read, how many
-- were left out for each reason, and how many were evaluated. n_read is the sum of the others. n_too_long is about the
-- model. No item is left out for the demonstrations: they leave out what is evaluated.
-- topic: origin
-- first: task, language, split, n_read, n_evaluated, n_other_half, n_beyond_limit, n_too_long
-- $task VARCHAR = NULL
-- $split VARCHAR = NULL
WITH evaluated AS (
    SELECT
        e.items_id, e.n_examples, coalesce(e.longer, '') AS longer, e.profile, e.example_limit, e.split_by, e.variant_id,
        CASE WHEN e.longer = 'skip' THEN coalesce(e.n_longer, 0) ELSE 0 END AS n_too_long
    FROM evaluations AS e
)
SELECT
    f.task, f.language, f.split, f.n_read, f.n_blank, f.n_equal_candidates, f.n_unusable, f.n_without_item,
    f.n_other_half, f.n_beyond_limit, e.n_too_long, f.n_items - e.n_too_long - e.n_examples AS n_not_rescored,
    e.n_examples AS n_evaluated, count(DISTINCT e.variant_id) AS n_variants, e.example_limit, e.split_by, e.longer,
    e.profile, f.items_id
FROM item_flows AS f
JOIN evaluated AS e ON e.items_id = f.items_id
WHERE ($task::VARCHAR IS NULL OR f.task = $task::VARCHAR) AND ($split::VARCHAR IS NULL OR f.split = $split::VARCHAR)
GROUP BY ALL
ORDER BY f.task, f.split, f.language, e.example_limit NULLS FIRST, f.items_id, e.n_examples DESC, e.longer, e.profile;
