-- folded_run_files: one row per folded run file
SELECT run_file FROM jobs
UNION ALL SELECT run_file FROM failures
UNION ALL SELECT run_file FROM runs
UNION ALL SELECT run_file FROM run_ends
UNION ALL SELECT run_file FROM run_environments
UNION ALL SELECT run_file FROM run_packs;
