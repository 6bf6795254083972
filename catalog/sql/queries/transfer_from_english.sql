-- transfer_from_english: what is right in English and elsewhere. One row per language: of the items that a variant answers
-- right in English, the share that it also answers right in the language (transfer), and the share among the items that it
-- answers wrong in English (without_english). Items are matched by their id. Without a variant, the rows are those of the
-- dense model.
-- topic: english
-- $task VARCHAR = 'facts'
-- $split VARCHAR = 'test'
-- $variant_id VARCHAR = 'dense'
SELECT
    a.label, a.language,
    count(*) AS n,
    count(*) FILTER (e.is_right) AS n_right_in_english,
    avg(a.is_right::INTEGER) FILTER (e.is_right) AS transfer,
    avg(a.is_right::INTEGER) FILTER (NOT e.is_right) AS without_english,
    count(*) FILTER (a.is_right AND e.is_right) AS n_right_in_both,
    count(*) FILTER (a.is_right AND NOT e.is_right) AS n_right_in_language_alone,
    a.scoring_rule, q.protocol, a.variant_id, a.base_model_id
FROM item_answers($task, of_split := $split, of_variant := $variant_id) AS a
JOIN item_answers($task, of_split := $split, of_language := 'en', of_variant := $variant_id) AS e
    ON e.variant_id = a.variant_id AND e.example_id = a.example_id
    AND e.scoring_rule = a.scoring_rule AND e.protocol_id = a.protocol_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = a.protocol_id
WHERE a.language <> 'en'
GROUP BY ALL
ORDER BY a.base_model_id, a.label, a.variant_id, a.scoring_rule, q.protocol NULLS FIRST, a.language;
