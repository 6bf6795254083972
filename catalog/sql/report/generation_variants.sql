-- generation_variants: one row per base model and task whose outputs are texts: the split and the two variants whose
-- outputs the page shows next to those of the dense model. The first one is the best pruned variant on dev (on test, if
-- nothing else was evaluated) by chrf of translations and exact_match of answers, the second one that of the same method
-- with the largest sparsity, or the first one again. The columns are parameters of the query generations.
WITH means AS (
    SELECT
        v.base_model_id, m.task, m.variant_id, v.method_id, v.sparsity, m.split,
        max(m.split) OVER (PARTITION BY v.base_model_id, m.task) AS last_split,
        count(*) AS n_languages,
        avg(m.value ORDER BY m.language) AS mean
    FROM metrics AS m
    JOIN internal.variant_descriptions AS v ON v.variant_id = m.variant_id
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    WHERE m.metric = CASE m.task WHEN 'translation' THEN 'chrf' ELSE 'exact_match' END AND m.profile = 'corrected' AND v.intervention IS NULL AND v.sparsity > 0
        AND m.value IS NOT NULL
    GROUP BY v.base_model_id, m.task, m.variant_id, v.method_id, v.sparsity, m.split, m.scoring_rule, m.protocol_id
),
best AS (
    SELECT *
    FROM means
    QUALIFY row_number() OVER (
        PARTITION BY base_model_id, task ORDER BY split, n_languages DESC, mean DESC, sparsity, variant_id
    ) = 1
),
sparsest AS (
    SELECT m.*
    FROM means AS m
    JOIN best AS b ON b.base_model_id = m.base_model_id AND b.task = m.task AND b.method_id = m.method_id
    WHERE m.sparsity > b.sparsity
    QUALIFY row_number() OVER (PARTITION BY m.base_model_id, m.task ORDER BY m.sparsity DESC, m.variant_id) = 1
)
SELECT b.task, b.last_split AS split, b.variant_id AS first_id, coalesce(s.variant_id, b.variant_id) AS second_id
FROM best AS b
LEFT JOIN sparsest AS s ON s.base_model_id = b.base_model_id AND s.task = b.task
ORDER BY b.task, b.base_model_id;
