-- comparison_families: inserts or replaces the families of comparisons that are new or have changed. A family is the
-- declared question that covers a comparison, primary ones first. Otherwise it is the exploratory question of a base
-- model, task, split, metric, scoring rule, protocol, profile and kind of baseline (dense or named), over all variants
-- and languages. Only families of a task, split and metric that {folded} (id) touches are computed again.
-- depends on comparison_results, evaluations, questions, question_variants, variants
INSERT OR REPLACE INTO comparison_families BY NAME
WITH tested_tasks AS (
    SELECT DISTINCT task FROM evaluations WHERE split = 'test'
),
touched AS (
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
    FROM comparison_families
    SEMI JOIN outdone_evaluations USING (evaluation_id)
    WHERE family IS NOT NULL
    UNION
    SELECT task, split, metric
    FROM comparison_families
    SEMI JOIN tested_tasks USING (task)
    WHERE split = 'dev' AND family IS NOT NULL
),
covering AS (
    SELECT
        v.variant_id, v.baseline_id, q.task, q.split, q.metric, q.group_name AS language,
        min({is_exploratory: NOT q.is_primary, question_id: q.question_id, name: q.name}) AS question
    FROM question_variants AS v
    JOIN questions AS q ON q.question_id = v.question_id
    WHERE q.group_kind = 'language' AND q.claim = 'gain' AND q.over = 'each'
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
    LEFT JOIN variant_descriptions AS v ON v.variant_id = c.variant_id
    LEFT JOIN variant_descriptions AS b ON b.variant_id = c.baseline_id
    LEFT JOIN outdone_evaluations AS o ON o.evaluation_id = c.evaluation_id
    LEFT JOIN tested_tasks AS t ON t.task = c.task
    LEFT JOIN covering AS q
        ON q.variant_id = c.variant_id AND q.baseline_id = c.baseline_id AND q.task = c.task AND q.split = c.split
        AND q.metric = c.metric AND q.language = c.language
        AND c.profile = 'corrected'
)
SELECT
    evaluation_id, baseline_evaluation_id, metric, task, split, family, question_id, is_primary, n_family, p_holm, q_bh
FROM ({families})
EXCEPT
SELECT * FROM comparison_families;
