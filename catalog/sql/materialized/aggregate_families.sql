-- aggregate_families: inserts or replaces the families of aggregates that are new or have changed. Of the records of a
-- variant, baseline, way of evaluating and group of languages, the one with most languages, then with most items, then
-- of the latest version, counts.
-- A family is the primary question that an aggregate answers. Otherwise it is the exploratory
-- question of a base model, task, split, metric, scoring rule, evaluation setup, profile, kind of baseline (dense or
-- named) and kind of group, over all variants. Only families of a task, split and metric that {folded} (id) touches are
-- computed again.
-- depends on aggregate_results, evaluations, questions, question_variants
-- depends on quarantined_questions, recipe_questions, variants, answer_results, comparison_results, records
INSERT OR REPLACE INTO internal.aggregate_families BY NAME
WITH tested_tasks AS (
    SELECT DISTINCT task FROM evaluations WHERE split = 'test'
),
folded_measures AS (
    SELECT task, split, metric FROM aggregate_results SEMI JOIN {folded} AS f ON f.id = comparison_id
    UNION
    SELECT task, split, metric FROM aggregate_results SEMI JOIN {folded} AS f ON f.id = variant_id
    UNION
    SELECT task, split, metric FROM aggregate_results SEMI JOIN {folded} AS f ON f.id = baseline_id
    UNION
    SELECT task, split, metric FROM questions SEMI JOIN {folded} AS f ON f.id = question_id
    UNION
    SELECT task, split, metric
    FROM internal.aggregate_families
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
        variant_id, baseline_id, task, split, metric, group_kind, group_name, p_value,
        min({question_id: question_id, name: name, n_family: n_family, p_corrected: p_corrected}) AS question
    FROM primary_tests
    WHERE group_kind <> 'language' AND language = ''
    GROUP BY ALL
),
members AS (
    SELECT
        a.comparison_id, a.metric, a.group_kind, a.group_name, a.task, a.split, a.p_value, a.scoring_rule, a.profile,
        concat_ws(' ', v.base_model_id, a.protocol_id) AS conditions,
        concat_ws(' ', a.task, a.split, a.metric, a.group_kind) AS measure,
        coalesce(b.is_dense AND b.base_model_id = v.base_model_id, false) AS is_against_dense,
        q.question,
        row_number() OVER (
            PARTITION BY
                a.variant_id, a.baseline_id, a.task, a.split, a.metric, a.scoring_rule, a.protocol_id, a.profile,
                a.group_kind, a.group_name
            ORDER BY
                a.n_languages DESC NULLS LAST, a.n_items DESC NULLS LAST, r.step_version DESC NULLS LAST, a.comparison_id
        ) = 1 AS is_largest,
        is_largest AND a.test IS NOT NULL AND (a.split <> 'dev' OR t.task IS NULL) AS is_test
    FROM aggregate_results AS a
    SEMI JOIN touched AS f ON f.task = a.task AND f.split = a.split AND f.metric = a.metric
    LEFT JOIN internal.variant_descriptions AS v ON v.variant_id = a.variant_id
    LEFT JOIN internal.variant_descriptions AS b ON b.variant_id = a.baseline_id
    LEFT JOIN records AS r ON r.kind = 'comparisons' AND r.id = a.comparison_id
    LEFT JOIN tested_tasks AS t ON t.task = a.task
    LEFT JOIN covering AS q
        ON q.variant_id = a.variant_id AND q.baseline_id = a.baseline_id AND q.task = a.task AND q.split = a.split
        AND q.metric = a.metric AND q.group_kind = a.group_kind AND q.group_name = a.group_name
        AND q.p_value = a.p_value AND a.profile = 'corrected'
)
SELECT
    comparison_id, metric, group_kind, group_name, task, split, is_largest, test_family, question_id, is_primary,
    n_family, p_corrected, q_bh
FROM ({families})
EXCEPT
SELECT * FROM internal.aggregate_families;
