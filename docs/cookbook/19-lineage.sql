-- Where does a number come from?
-- From the accuracy of a variant in Swahili back to its ordering, statistics, demonstrations and the first of their
-- texts, the model, the file of its predictions, and the code and library that computed it. Named queries:
-- `lineage_of_metric`, `lineage_of_files` for all files, `lineage_of_sentences` for all texts, `lineage_of_code` for
-- commit, libraries and machine of every step, `examples_of_evaluation` for every single answer.
WITH evaluated AS (
    SELECT * FROM lineage
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND language = 'sw'
        AND score = 'wanda' AND propagation = 'dense' AND set_kind = 'translation' AND source_language = 'sw'
        AND sparsity = 0.4
),
made_by AS (
    SELECT e.evaluation_id, v.code_sha256, p.version AS torch
    FROM evaluated AS e
    JOIN job_records AS r ON r.record_kind = 'evaluations' AND r.record_id = e.evaluation_id
    JOIN jobs AS j ON j.run_file = r.run_file AND j.status = 'done'
    JOIN environments AS v ON v.environment_id = j.environment_id
    JOIN environment_packages AS p ON p.environment_id = v.environment_id AND p.package = 'torch'
)
UNPIVOT (
    SELECT round(e.value, 4)::VARCHAR AS accuracy, e.evaluation_id, e.variant_id, e.ordering_id, e.statistics_ids,
        e.demonstration_set_id, d.sentence_ids::VARCHAR AS first_sentences,
        replace(left(d.text, 90), chr(10), ' / ') AS first_text, e.base_model_id, e.artefact_path,
        left(m.code_sha256, 20) AS code_sha256, m.torch
    FROM evaluated AS e
    JOIN demonstrations AS d ON d.demonstration_set_id = e.demonstration_set_id AND d.demonstration = 0
    JOIN made_by AS m ON m.evaluation_id = e.evaluation_id
) ON COLUMNS(*) INTO NAME part VALUE name_or_value;
