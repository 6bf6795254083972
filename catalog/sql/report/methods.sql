-- methods: one row per fact for the paragraph on methods: a base model, a method with its sparsities, a kind of
-- demonstration set, a task, a test of a metric, a pooled test, a question's family, an environment. n counts variants,
-- sets, items, sign flips or tests.
WITH libraries AS (
    SELECT environment_id, string_agg(package || ' ' || version, ', ' ORDER BY package) AS versions
    FROM environment_packages
    WHERE package IN ('torch', 'transformers', 'numpy', 'scipy')
    GROUP BY environment_id
)
SELECT 1 AS place, 'model' AS topic, source AS name, format('{:,} prunable weights', n_prunable) AS detail, 1 AS n
FROM base_models
UNION ALL
SELECT
    2, 'method',
    concat_ws(' on ', replace(coalesce(score, combination, intervention), '_', ' '), set_kind),
    array_to_string(list_transform(list_sort(list(DISTINCT sparsity)), lambda level: format('{:.3g}', level)), ', '),
    count(*)
FROM described_variants
WHERE NOT is_dense
GROUP BY ALL
UNION ALL
SELECT
    3, 'set', kind,
    concat_ws(', ',
        string_agg(DISTINCT samples, ' or ' ORDER BY samples) || ' demonstrations',
        string_agg(DISTINCT shots, ' or ' ORDER BY shots) || ' shots',
        'seeds ' || string_agg(DISTINCT seed, ' ' ORDER BY seed)
    ),
    count(*)
FROM demonstration_sets
GROUP BY kind
UNION ALL
SELECT
    4, 'task', concat_ws(', ', task, split || ' split'),
    concat_ws(', ',
        string_agg(DISTINCT language, ' ' ORDER BY language),
        CASE WHEN max(n_clusters) < max(n) THEN max(n_clusters) || ' clusters' END,
        'chance ' || format('{:.3f}', avg(chance ORDER BY language, items_id))
    ),
    max(n)
FROM tasks
WHERE profile = 'corrected'
GROUP BY task, split
UNION ALL
SELECT DISTINCT 5, 'test', metric, concat_ws(' with interval ', test, interval), 0
FROM comparison_results
WHERE test IS NOT NULL
UNION ALL
SELECT 6, 'pooled', metric, concat_ws(' with interval ', test, interval), max(n_flips)
FROM aggregate_results
WHERE test IS NOT NULL
GROUP BY ALL
UNION ALL
SELECT
    7, CASE WHEN q.is_primary THEN 'primary' ELSE 'exploratory' END, q.name, NULL, max(a.n)
FROM questions AS q
ANTI JOIN internal.outdone_questions AS o ON o.question_id = q.question_id
JOIN (SELECT question_id, count(*) AS n FROM answer_results GROUP BY question_id) AS a ON a.question_id = q.question_id
WHERE q.is_declared
GROUP BY q.recipe, q.criterion_id, q.is_primary, q.name
UNION ALL
SELECT DISTINCT
    8, 'code', e.mlprune, concat_ws(', ', left(e.git_commit, 12), e.python, l.versions), 0
FROM environments AS e
LEFT JOIN libraries AS l ON l.environment_id = e.environment_id
ORDER BY place, topic, name, detail, n;
