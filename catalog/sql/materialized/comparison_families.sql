-- comparison_families: inserts or replaces the families of comparisons that are new or have changed. A family is the
-- primary question that it answers, or that tests the single language after the mean. Otherwise it is the exploratory
-- question of a base model, task, split, metric, scoring rule, evaluation setup, profile and kind of baseline (dense or
-- named), over all variants and languages. Only families of a task, split and metric that {folded} (id) touches are
-- computed again.
-- depends on comparison_results, evaluations, questions, question_variants
-- depends on quarantined_questions, recipe_questions, variants, answer_results, aggregate_results, records
INSERT OR REPLACE INTO internal.comparison_families BY NAME
WITH tested_tasks AS (
    SELECT DISTINCT task FROM evaluations WHERE split = 'test'
),
folded_measures AS (
    SELECT task, split, metric FROM comparison_results SEMI JOIN {folded} AS f ON f.id = comparison_id
    UNION
    SELECT task, split, metric FROM comparison_results SEMI JOIN {folded} AS f ON f.id = evaluation_id
    UNION
    SELECT task, split, metric FROM comparison_results SEMI JOIN {folded} AS f ON f.id = variant_id
    UNION
    SELECT task, split, metric FROM comparison_results SEMI JOIN {folded} AS f ON f.id = baseline_id
    UNION
    SELECT task, split, metric FROM questions SEMI JOIN {folded} AS f ON f.id = question_id
    UNION
    SELECT task, split, metric
    FROM internal.comparison_families
    SEMI JOIN internal.outdone_evaluations USING (evaluation_id)
    WHERE test_family IS NOT NULL
    UNION
    SELECT task, split, metric
    FROM internal.comparison_families
    SEMI JOIN tested_tasks USING (task)
    WHERE split = 'dev' AND test_family IS NOT NULL
),
primary_measures AS (
    SELECT DISTINCT task, split, metric FROM questions WHERE is_primary
),
touched AS (
    SELECT * FROM folded_measures
    UNION
    SELECT * FROM primary_measures WHERE EXISTS (FROM folded_measures SEMI JOIN primary_measures USING (task, split, metric))
),
primary_tests AS (
    SELECT * EXCLUDE (recipe, n_questions, n_family, p_corrected), max(n_family) AS n_family, max(p_corrected) AS p_corrected
    FROM internal.question_tests
    WHERE claim = 'gain' AND over = 'each'
    GROUP BY ALL
),
covering AS (
    SELECT
        variant_id, baseline_id, task, split, metric, coalesce(nullif(language, ''), group_name) AS language, p_value,
        min({is_single: language <> '', question_id: question_id, name: name, n_family: n_family,
             p_corrected: p_corrected}) AS question
    FROM primary_tests
    WHERE group_kind = 'language' OR language <> ''
    GROUP BY ALL
),
members AS (
    SELECT
        c.evaluation_id, c.baseline_evaluation_id, c.metric, c.task, c.split, c.p_value,
        coalesce(c.scoring_rule, e.scoring_rule) AS scoring_rule,
        concat_ws(' ', v.base_model_id, coalesce(c.protocol_id, e.protocol_id)) AS conditions,
        c.profile,
        concat_ws(' ', c.task, c.split, c.metric) AS measure,
        coalesce(b.is_dense AND b.base_model_id = v.base_model_id, false) AS is_against_dense,
        q.question,
        o.evaluation_id IS NULL AND c.test IS NOT NULL AND (c.split <> 'dev' OR t.task IS NULL) AS is_test
    FROM comparison_results AS c
    SEMI JOIN touched AS f ON f.task = c.task AND f.split = c.split AND f.metric = c.metric
    LEFT JOIN evaluations AS e ON e.evaluation_id = c.evaluation_id
    LEFT JOIN internal.variant_descriptions AS v ON v.variant_id = c.variant_id
    LEFT JOIN internal.variant_descriptions AS b ON b.variant_id = c.baseline_id
    LEFT JOIN internal.outdone_evaluations AS o ON o.evaluation_id = c.evaluation_id
    LEFT JOIN tested_tasks AS t ON t.task = c.task
    LEFT JOIN covering AS q
        ON q.variant_id = c.variant_id AND q.baseline_id = c.baseline_id AND q.task = c.task AND q.split = c.split
        AND q.metric = c.metric AND q.language = c.language AND q.p_value = c.p_value
        AND c.profile = 'corrected'
)
SELECT
    evaluation_id, baseline_evaluation_id, metric, task, split, test_family, question_id, is_primary, n_family, p_corrected, q_bh
FROM ({families})
EXCEPT
SELECT * FROM internal.comparison_families;
