-- What did it cost, and did everything succeed?
-- Jobs, seconds and the largest memory of a process, by step, on the machine that ran the demo (all evaluations of a
-- variant are one job). `not_done` counts attempts that failed or were lost; `failures` has the reasons. Named
-- queries: `cost_by_step` and `cost_of_variants`.
SELECT step, count(*) AS jobs, round(sum(elapsed_s)) AS seconds, round(sum(elapsed_s) / count(*), 1) AS seconds_each,
    round(max(peak_memory_gib), 2) AS peak_gib, count(*) FILTER (WHERE status <> 'done') AS not_done
FROM jobs
GROUP BY step
ORDER BY seconds DESC, step;
