-- folded_run_files: one row per run file the catalog knows
SELECT run_file FROM jobs UNION ALL SELECT run_file FROM failures;
