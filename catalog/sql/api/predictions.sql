-- predictions: one row per stored row of an evaluation's predictions: for tasks with candidates one per example and candidate
-- with its log-likelihoods, for translation one per example with output and reference
-- $evaluation_id VARCHAR
-- reads predictions from predictions of $evaluation_id
SELECT * FROM predictions;
