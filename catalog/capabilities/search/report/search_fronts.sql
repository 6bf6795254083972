-- search_fronts: one row per search, task and variant with values in English and in other languages on the split of the
-- search: English, and the mean of the others (for perplexity, their geometric mean), on the most items of the variant.
-- is_efficient: of the variants on as many items, none is at least as good in both and better in one. The dense model is
-- in it with the items of the last rung.
-- title: English against the other languages in the trials
-- anchor: search-front
-- draw: catalog.capabilities.search.panels:front_panels
-- after: search_trials
-- topic: Searches
-- optional: true
-- explanation: One point per variant on the items of the highest rung of the search. Better is up and to the right. A
-- trial is on the front if no variant is at least as good in both and better in one. All values are of dev, so the
-- front is on average too good.
-- empty: The store has no search. An entry under searches fills this figure.
WITH of_search AS (
    SELECT DISTINCT
        t.search_id, t.rung, t.item_limit, e.variant_id, e.evaluation_id, e.variant_id <> t.variant_id AS is_dense,
        CASE WHEN e.variant_id = t.variant_id THEN t.number END AS number,
        CASE WHEN e.variant_id = t.variant_id THEN t.status ELSE 'dense' END AS status
    FROM search_trials AS t
    JOIN record_parents AS p ON p.kind = 'search_batches' AND p.id = t.batch_id
    JOIN evaluations AS e ON e.evaluation_id = p.parent_id
    JOIN internal.variant_descriptions AS d ON d.variant_id = e.variant_id
    WHERE e.variant_id = t.variant_id OR d.is_dense
),
last_rungs AS (
    SELECT *
    FROM of_search
    QUALIFY rank() OVER (PARTITION BY search_id, variant_id ORDER BY rung DESC, number DESC) = 1
),
listed AS (
    SELECT
        l.search_id, l.number, l.rung, l.item_limit, l.variant_id, l.status, l.is_dense, m.task, m.split, m.metric,
        any_value(m.value) FILTER (WHERE m.language = 'en') AS english_value,
        list_sort(list(m.value) FILTER (WHERE m.language <> 'en')) AS other_values,
        array_to_string(list_sort(list(m.language) FILTER (WHERE m.language <> 'en')), ' ') AS others
    FROM last_rungs AS l
    JOIN metrics AS m ON m.evaluation_id = l.evaluation_id
    WHERE m.metric IN ('accuracy', 'perplexity')
    GROUP BY ALL
    HAVING english_value IS NOT NULL AND other_values IS NOT NULL
),
balance AS (
    SELECT
        *,
        CASE
            WHEN metric = 'perplexity' THEN exp(list_avg(list_transform(other_values, lambda v: ln(v))))
            ELSE list_avg(other_values)
        END AS others_value
    FROM listed
),
signed AS (
    SELECT
        *,
        CASE WHEN metric = 'perplexity' THEN -english_value ELSE english_value END AS x,
        CASE WHEN metric = 'perplexity' THEN -others_value ELSE others_value END AS y
    FROM balance
)
SELECT
    m.source AS base_model, d.base_model_id, d.name, d.recipe, s.search_id, s.task, s.split, s.metric, s.others, s.number,
    s.rung, s.item_limit, s.status, s.is_dense, s.english_value, s.others_value,
    coalesce(r.variant_id = s.variant_id, false) AS is_winner,
    NOT EXISTS (
        SELECT 1
        FROM signed AS o
        WHERE o.search_id = s.search_id AND o.task = s.task AND o.metric = s.metric AND o.rung = s.rung
            AND o.x >= s.x AND o.y >= s.y AND (o.x > s.x OR o.y > s.y)
    ) AS is_efficient,
    v.label, s.variant_id
FROM signed AS s
JOIN internal.described_searches AS d ON d.search_id = s.search_id
JOIN base_models AS m ON m.base_model_id = d.base_model_id
LEFT JOIN internal.variant_descriptions AS v ON v.variant_id = s.variant_id
LEFT JOIN (SELECT search_id, min(variant_id) AS variant_id FROM searches GROUP BY search_id) AS r
    ON r.search_id = s.search_id
ORDER BY base_model, d.base_model_id, d.name, s.search_id, s.task, s.metric, s.is_dense DESC, s.number;
