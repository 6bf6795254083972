-- answered: one row per evaluation whose answers a statement reads, with the file of its predictions. Those with other
-- metrics have the answers of the evaluation that they were computed from
-- $task VARCHAR
-- $split VARCHAR
-- $language VARCHAR = NULL
-- $variant VARCHAR = NULL
SELECT e.evaluation_id, e.task, e.scoring_rule, e.items_id, f.path, f.n_bytes, f.sha256, f.n_rows
FROM evaluations AS e
JOIN internal.variant_descriptions AS v ON v.variant_id = e.variant_id
JOIN artefacts AS f ON f.kind = 'evaluations' AND f.id = e.evaluation_id AND starts_with(f.path, 'predictions/')
ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = e.evaluation_id
WHERE e.profile = 'corrected' AND e.metric_names IS NULL AND e.task = $task AND e.split = $split
    AND ($language::VARCHAR IS NULL OR e.language = $language::VARCHAR)
    AND (
        $variant::VARCHAR IS NULL OR e.variant_id = $variant::VARCHAR
        OR e.variant_id IN (SELECT variant_id FROM internal.variant_names WHERE name = $variant::VARCHAR)
        OR ($variant::VARCHAR = 'dense' AND v.is_dense)
    )
ORDER BY e.evaluation_id;
