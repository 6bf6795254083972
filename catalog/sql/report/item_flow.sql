-- item_flow: one row per task, language, split and number of evaluated items: how many rows or lines were read, how many
-- were left out for each reason, and how many were evaluated. n_read is the sum of the others. n_too_long is about the
-- model. No item is left out for the demonstrations: they leave out what is evaluated.
-- title: Items that were read, left out and evaluated
-- anchor: item-flow
-- optional: true
-- explanation: Rows or lines of each task, language and split. Items of the other half are those of dev for test, and of
-- test for dev: whole clusters with split_by: clusters. No item is left out for the demonstrations: they leave out what
-- is evaluated. Items that are too long for the model are left out if the recipe says so.
-- empty: The store has no counts of items. Running a recipe again fills this table.
-- column task: task
-- column split: split
-- column language: language
-- column n_read: read
-- column n_blank: blank
-- column n_equal_candidates: equal candidates
-- column n_unusable: unusable
-- column n_without_item: without a question
-- column n_other_half: other half
-- column n_beyond_limit: beyond the limit
-- column n_too_long: too long
-- column n_not_rescored: not rescored
-- column n_evaluated: evaluated
-- column n_variants: variants
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
GROUP BY ALL
ORDER BY f.task, f.split, f.language, e.example_limit NULLS FIRST, f.items_id, e.n_examples DESC, e.longer, e.profile;
