-- What was one number made from?
-- From the accuracy of a variant in Swahili back to the order of its weights, the statistics, the demonstrations, the
-- model, and the file of its predictions. The very sentences are in `demonstrations/<demonstration_set_id>.parquet` of the
-- store. Ready-made: `lineage_of_metric`, and `lineage_of_files` for all files.
UNPIVOT (
    SELECT round(value, 4)::VARCHAR AS accuracy, evaluation_id, variant_id, ordering_id, statistics_ids,
        demonstration_set_id, base_model_id, artefact_path
    FROM lineage
    WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy' AND language = 'sw'
        AND score = 'wanda' AND propagation = 'dense' AND set_kind = 'translation' AND source_language = 'sw'
        AND sparsity = 0.4
) ON COLUMNS(*) INTO NAME part VALUE name_or_value;
