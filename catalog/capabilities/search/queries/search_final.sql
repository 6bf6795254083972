-- search_final: the winner of a search, compared with others. One row per report of a search and variant in it, on the
-- split of the report. A search of which no trial meets the constraints has one row, whose role is no winner. difference is
-- the winner's objective minus the variant's, with the one-sided p_worse. The test of the recipe's question
-- (tested_difference, p_value two-sided) is about the first measure of the objective; verdict and p_corrected are those of
-- its answer, n_tests its n_family. Without a test, verdict is cannot be asked (verdict_reason). optimism is the gain over
-- dense on dev minus that on the split of the report. With with_trials, also one row per search and variant that it tried
-- (role trial), while the search runs too: its last trial, on the most items, and its place among them. dev_value is the
-- objective on dev: it chose among the trials, so the best one is on average too good.
-- topic: search
-- first: name, role, label, difference, p_corrected, verdict
-- $search VARCHAR = NULL
-- $with_trials BOOLEAN = false
WITH tests AS (
    SELECT
        q.recipe, q.name, a.variant_id, a.baseline_id, q.question_id, q.metric, q.group_kind, q.group_name, q.split,
        a.difference, a.scale, a.ci_low, a.ci_high, a.p_value, a.p_corrected, a.n_family, a.verdict, a.verdict_reason
    FROM questions AS q
    JOIN internal.verdicts AS a ON a.question_id = q.question_id
    WHERE q.is_declared AND q.claim = 'gain'
),
finalists AS (
    SELECT f.*, n.name, n.recipe
    FROM search_finalists AS f
    JOIN names AS n ON n.kind = 'search' AND n.id = f.search_id
),
tested AS (
    SELECT
        f.result_id, f.search_id, f.name, f.recipe, f.role, f.variant_id, f.test_value, f.test_ci_low, f.test_ci_high,
        f.difference, f.ci_low, f.ci_high, f.p_worse,
        t.question_id, t.split, t.metric, t.group_kind, t.group_name, t.scale,
        t.difference AS tested_difference, t.ci_low AS tested_ci_low, t.ci_high AS tested_ci_high, t.p_value,
        t.p_corrected, t.n_family AS n_tests,
        CASE
            WHEN f.role = 'winner' THEN NULL
            WHEN f.variant_id = s.variant_id THEN 'it is the same variant'
            WHEN t.question_id IS NULL THEN 'there is no test'
            ELSE t.verdict_reason
        END AS verdict_reason,
        CASE WHEN f.role <> 'winner' THEN coalesce(t.verdict, 'cannot be asked') END AS verdict
    FROM finalists AS f
    JOIN searches AS s ON s.result_id = f.result_id
    LEFT JOIN tests AS t
        ON t.recipe = f.recipe AND t.name = f.name || '-against-' || f.role
        AND t.variant_id = s.variant_id AND t.baseline_id = f.variant_id
),
last_trials AS (
    SELECT *
    FROM search_trials
    QUALIFY row_number() OVER (PARTITION BY search_id, variant_id ORDER BY rung DESC, number DESC) = 1
)
SELECT * FROM (
SELECT
    c.name, c.role, v.label, c.test_value, c.test_ci_low, c.test_ci_high, s.test_dense_value,
    c.difference, c.ci_low, c.ci_high, c.p_worse,
    c.tested_difference, c.tested_ci_low, c.tested_ci_high, c.p_value, c.p_corrected,
    c.verdict, c.verdict_reason,
    c.n_tests, c.metric, c.group_kind, c.group_name, c.scale AS tested_scale, c.split,
    CASE WHEN c.role = 'winner' THEN s.dev_value END AS dev_value,
    CASE WHEN c.role = 'winner' THEN s.optimism END AS optimism,
    CASE WHEN c.role = 'winner' THEN s.optimism_ci_low END AS optimism_ci_low,
    CASE WHEN c.role = 'winner' THEN s.optimism_ci_high END AS optimism_ci_high,
    s.direction, s.objective, c.recipe, c.variant_id, c.question_id, c.search_id, c.result_id, v.base_model_id
FROM tested AS c
JOIN searches AS s ON s.result_id = c.result_id
JOIN described_variants AS v ON v.variant_id = c.variant_id
UNION ALL BY NAME
SELECT
    n.name, 'no winner' AS role, s.test_dense_value, 'cannot be asked' AS verdict,
    'no trial meets the constraints' AS verdict_reason, s.direction,
    s.objective, n.recipe, s.search_id, s.result_id, d.base_model_id
FROM searches AS s
JOIN names AS n ON n.kind = 'search' AND n.id = s.search_id
LEFT JOIN internal.described_searches AS d ON d.search_id = s.search_id
WHERE s.variant_id IS NULL
UNION ALL BY NAME
SELECT
    s.name, 'trial' AS role, v.label, t.dense_objective AS dev_dense_value, t.objective AS dev_value,
    t.ci_low AS dev_ci_low, t.ci_high AS dev_ci_high, s.direction, s.recipe, t.variant_id, t.search_id, s.base_model_id,
    t.number, t.batch, t.rung, t.status, t.reason, t.is_feasible, t.violation, t.n_items, t.item_limit, t.parent, t.point,
    row_number() OVER (
        PARTITION BY t.search_id
        ORDER BY
            t.rung DESC, t.violation NULLS LAST,
            CASE WHEN s.direction = 'minimise' THEN t.objective ELSE -t.objective END NULLS LAST, t.number
    ) AS place
FROM last_trials AS t
JOIN internal.described_searches AS s ON s.search_id = t.search_id
LEFT JOIN described_variants AS v ON v.variant_id = t.variant_id
WHERE $with_trials
)
WHERE $search::VARCHAR IS NULL OR name = $search::VARCHAR
ORDER BY base_model_id, recipe, name, role = 'trial', result_id, role <> 'winner', role, place;
