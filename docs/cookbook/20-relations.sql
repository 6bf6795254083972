-- Which relations does a variant lose?
-- `item_answers` reads the answers to single items from the predictions. A category is the relation of a fact.
-- Counts without a test. Named query: `accuracy_by_category`.
SELECT a.category, count(*) AS items, count(*) FILTER (d.is_right) AS right_in_dense,
    count(*) FILTER (a.is_right) AS right_now, count(*) FILTER (d.is_right AND NOT a.is_right) AS lost,
    count(*) FILTER (a.is_right AND NOT d.is_right) AS gained
FROM item_answers('facts', of_language := 'sw', of_variant := 'wanda sw-en 0.4') AS a
JOIN item_answers('facts', of_language := 'sw', of_variant := 'dense') AS d ON d.example_id = a.example_id
GROUP BY a.category
ORDER BY lost - gained DESC, a.category;
