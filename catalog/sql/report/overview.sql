-- overview: one row: the names of the recipes in the order of their first runs, and the size of the catalog
SELECT
    (
        SELECT list(recipe ORDER BY started_at, recipe)
        FROM (SELECT recipe, min(started_at) AS started_at FROM runs WHERE recipe IS NOT NULL GROUP BY recipe)
    ) AS recipes,
    (SELECT count(*) FROM base_models) AS n_models,
    (SELECT count(*) FROM described_variants WHERE NOT is_dense) AS n_variants,
    (SELECT count(DISTINCT task) FROM evaluations) AS n_tasks,
    (SELECT count(DISTINCT language) FROM evaluations) AS n_languages,
    (SELECT count(*) FROM evaluations ANTI JOIN internal.outdone_evaluations USING (evaluation_id)) AS n_evaluations,
    (
        SELECT count(*)
        FROM internal.comparisons
        ANTI JOIN internal.outdone_evaluations USING (evaluation_id)
        WHERE profile = 'corrected'
    ) AS n_comparisons,
    (SELECT count(*) FROM failures) AS n_failures,
    (SELECT sum(elapsed_s ORDER BY run_id, job_id, attempt) FROM jobs) AS elapsed_s;
