-- content: one row with what a store contains
SELECT
    (SELECT count(*) FROM variants) AS n_variants,
    (SELECT count(*) FROM evaluations) AS n_evaluations,
    (SELECT string_agg(DISTINCT task, ', ' ORDER BY task) FROM evaluations) AS tasks,
    (SELECT string_agg(DISTINCT language, ', ' ORDER BY language) FROM evaluations) AS languages,
    (SELECT count(*) FROM runs) AS n_runs;
