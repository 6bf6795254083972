-- Where does a number come from?
-- From the accuracy of a variant in Swahili back to its ordering, statistics, demonstrations and model, and the code that
-- computed it. Named queries: `lineage_of_metric` for the files, commit, libraries and machine of every step,
-- `examples_of_evaluation` for every answer, `answers_flipped` for the answers that pruning changed, `cost_of_variants` for
-- time and memory.
UNPIVOT (
    SELECT round(l.value, 4)::VARCHAR AS accuracy, l.evaluation_id, l.variant_id, l.ordering_id, l.statistics_ids,
        l.demonstration_set_id, l.base_model_id, l.artefact_path, j.environment_id
    FROM internal.lineage AS l
    JOIN job_records AS r ON r.record_kind = 'evaluations' AND r.record_id = l.evaluation_id
    JOIN jobs AS j ON j.run_file = r.run_file AND j.status = 'done'
    WHERE l.task = 'facts' AND l.split = 'test' AND l.metric = 'accuracy' AND l.language = 'sw'
        AND l.label = 'wanda sw-en 0.4'
) ON COLUMNS(*) INTO NAME part VALUE name_or_value;
