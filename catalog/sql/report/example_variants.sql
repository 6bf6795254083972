-- example_variants: one row per base model and task that was evaluated by accuracy, and variant whose answers the page
-- shows: of the pruned variants, the best one on dev outside English (on test, or in English, if nothing else was
-- evaluated), and the variant of the same method with the largest sparsity. The columns are parameters of the queries.
WITH means AS (
    SELECT
        v.base_model_id, m.task, m.variant_id, v.method_id, v.sparsity, m.split,
        max(m.split) OVER (PARTITION BY v.base_model_id, m.task) AS last_split,
        count(*) FILTER (WHERE m.language <> 'en') AS n_others,
        count(*) AS n_languages,
        avg(m.value ORDER BY m.language) FILTER (WHERE m.language <> 'en') AS others,
        avg(m.value ORDER BY m.language) AS mean
    FROM metrics AS m
    JOIN internal.variant_descriptions AS v ON v.variant_id = m.variant_id
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    WHERE m.metric = 'accuracy' AND m.profile = 'corrected' AND v.intervention IS NULL AND v.sparsity > 0
        AND m.value IS NOT NULL
    GROUP BY v.base_model_id, m.task, m.variant_id, v.method_id, v.sparsity, m.split, m.scoring_rule, m.protocol_id
),
best AS (
    SELECT *
    FROM means
    QUALIFY row_number() OVER (
        PARTITION BY base_model_id, task
        ORDER BY split, n_others DESC, n_languages DESC, coalesce(others, mean) DESC, sparsity, variant_id
    ) = 1
),
sparsest AS (
    SELECT m.*
    FROM means AS m
    JOIN best AS b ON b.base_model_id = m.base_model_id AND b.task = m.task AND b.method_id = m.method_id
    WHERE m.sparsity > b.sparsity
    QUALIFY row_number() OVER (PARTITION BY m.base_model_id, m.task ORDER BY m.sparsity DESC, m.variant_id) = 1
)
SELECT task, last_split AS split, variant_id
FROM (
    SELECT *, 1 AS place FROM best
    UNION ALL
    SELECT *, 2 FROM sparsest
)
ORDER BY task, base_model_id, place;
