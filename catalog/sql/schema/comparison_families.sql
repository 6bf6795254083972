-- comparison_families: one row per comparison: the family of tests that it belongs to, and its corrected p-values
CREATE OR REPLACE TABLE internal.comparison_families (
    evaluation_id VARCHAR,           -- -> evaluations: evaluation of the variant
    baseline_evaluation_id VARCHAR,  -- -> evaluations: evaluation of the baseline
    metric VARCHAR,                  -- the metric
    task VARCHAR,                    -- task of both evaluations
    split VARCHAR,                   -- split of both evaluations
    test_family VARCHAR,             -- name of the family; NULL if the comparison is not a test: on dev of a task with a test split, or of an evaluation that a larger one replaces
    question_id VARCHAR,             -- -> questions: question that the family is, if a recipe declares it; NULL for an exploratory family
    is_primary BOOLEAN,              -- whether a recipe declares the question as primary; everything else is exploratory
    n_family BIGINT,                 -- number of tests in the family
    p_corrected DOUBLE,              -- p_value after Holm's correction over the family
    q_bh DOUBLE,                     -- p_value after the correction of Benjamini and Hochberg over the family, which bounds the false discovery rate
    PRIMARY KEY (evaluation_id, baseline_evaluation_id, metric)
);
