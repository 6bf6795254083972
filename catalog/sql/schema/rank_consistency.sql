-- rank_consistency: one row per pair of evaluations of a variant in two languages: how similarly they rank the candidates
CREATE OR REPLACE TABLE rank_consistency (
    variant_id VARCHAR,               -- -> variants: the variant
    task VARCHAR,                     -- the task
    language VARCHAR,                 -- first language
    reference_language VARCHAR,       -- language it is compared with
    split VARCHAR,                    -- dev or test
    n_items BIGINT,                   -- number of items that both languages share
    n_skipped BIGINT,                 -- number of shared items that were skipped because their candidate counts differ
    value DOUBLE,                     -- RankC, in [0, 1]; 1 means equal rankings of all items
    evaluation_id VARCHAR,            -- evaluation in the first language
    reference_evaluation_id VARCHAR,  -- evaluation in the reference language
    scoring_rule VARCHAR,             -- scoring rule of both evaluations
    example_limit BIGINT,             -- number of examples that were asked for; NULL for the full split
    protocol_id VARCHAR,              -- protocol of both evaluations
    profile VARCHAR,                  -- corrected, or paper: of paper evaluations, ranked by ascending score as published
    PRIMARY KEY (variant_id, task, language, reference_language, split, evaluation_id, reference_evaluation_id)
);
