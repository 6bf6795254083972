-- declarations: declared questions, to be registered elsewhere. One row per declared question, to be registered outside the
-- store before results are known, in the order in which they were recorded. record_id is the hash of the first record that
-- declares it, under today's question_id or that of an earlier version. Records have no times: recorded_at and git_commit
-- are those of the first run with this record, n_evaluations counts the evaluations that runs of this store had finished by
-- then. All are NULL if the files of that run are not in the store. mlprune check store --declarations FILE compares a store
-- with such a file.
-- topic: answers
-- first: name, recipe, status, recorded_at, n_evaluations, record_id
WITH first_runs AS (
    SELECT r.recipe_id, r.started_at, e.git_commit
    FROM runs AS r
    LEFT JOIN environments AS e ON e.environment_id = r.environment_id
    WHERE r.recipe_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY r.recipe_id ORDER BY r.started_at, r.run_id) = 1
),
evaluated AS (
    SELECT k.record_id, min(j.started_at + to_milliseconds((1000 * j.elapsed_s)::BIGINT)) AS finished_at
    FROM jobs AS j
    JOIN job_records AS k ON k.run_file = j.run_file
    WHERE k.record_kind = 'evaluations' AND j.status = 'done'
    GROUP BY k.record_id
),
counted AS (
    SELECT f.recipe_id, count(e.record_id) AS n_evaluations
    FROM first_runs AS f
    LEFT JOIN evaluated AS e ON e.finished_at <= f.started_at
    GROUP BY f.recipe_id
),
first_records AS (
    SELECT n.question_id, n.record_id, f.started_at, f.git_commit, c.n_evaluations
    FROM (
        SELECT question_id, record_id, false AS is_earlier FROM question_records
        UNION ALL
        SELECT o.replaced_by, r.record_id, true
        FROM question_records AS r
        JOIN internal.outdone_questions AS o ON o.question_id = r.question_id
    ) AS n
    LEFT JOIN first_runs AS f ON f.recipe_id = n.record_id
    LEFT JOIN counted AS c ON c.recipe_id = n.record_id
    QUALIFY row_number() OVER (PARTITION BY n.question_id ORDER BY f.started_at NULLS LAST, NOT n.is_earlier, n.record_id) = 1
)
SELECT
    q.name, q.recipe, q.status, strftime(f.started_at, '%Y-%m-%dT%H:%M:%SZ') AS recorded_at, f.n_evaluations,
    f.record_id, q.question_id, q.criterion_id, q.is_primary, q.declared_after, q.variants, q.against, q.differs_in,
    q.task, q.split, q.metric, q.languages, q.claim, q.margin, q.over, v.n_pairs, v.pairs_sha256, f.git_commit
FROM internal.described_questions AS q
JOIN first_records AS f ON f.question_id = q.question_id
JOIN (
    SELECT
        question_id, count(*) AS n_pairs,
        sha256(string_agg(concat_ws(' ', variant_id, baseline_id), ' ' ORDER BY variant_id, baseline_id)) AS pairs_sha256
    FROM question_variants
    GROUP BY question_id
) AS v ON v.question_id = q.question_id
WHERE q.is_declared
ORDER BY f.started_at, q.recipe, f.record_id, q.name, q.question_id;
