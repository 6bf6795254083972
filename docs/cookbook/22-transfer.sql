-- Does a model that knows a fact in English know it in another language?
-- Items by whether the variant is right in English and in Swahili. Named query: `transfer_from_english`.
SELECT e.is_right AS right_in_english, count(*) AS items, count(DISTINCT e.cluster) AS clusters,
    count(*) FILTER (s.is_right) AS right_in_swahili, avg(s.is_right::INTEGER) AS share
FROM item_answers('facts', of_language := 'en', of_variant := 'wanda sw-en 0.4') AS e
JOIN item_answers('facts', of_language := 'sw', of_variant := 'wanda sw-en 0.4') AS s ON s.example_id = e.example_id
GROUP BY e.is_right
ORDER BY e.is_right DESC;
