-- rank_consistency: one row per pair of evaluations of a variant in two languages: do both rank the candidates alike
CREATE OR REPLACE TABLE rank_consistency (
    variant_id VARCHAR,               -- -> variants: the variant
    task VARCHAR,                     -- the task
    language VARCHAR,                 -- first language
    reference_language VARCHAR,       -- language it is compared with
    split VARCHAR,                    -- dev or test
    n_items BIGINT,                   -- items both languages share
    n_skipped BIGINT,                 -- shared items left out because their candidate counts differ
    value DOUBLE,                     -- RankC, in [0, 1]; 1 is the same ranking everywhere
    evaluation_id VARCHAR,            -- evaluation in the first language; empty in records older than this column
    reference_evaluation_id VARCHAR,  -- evaluation in the other language; empty in records older than this column
    scoring_rule VARCHAR,             -- rule of both evaluations; NULL in records older than this column
    example_limit BIGINT,             -- examples asked for; NULL for the full split, and in older records
    protocol_id VARCHAR,              -- protocol of both evaluations
    PRIMARY KEY (variant_id, task, language, reference_language, split, evaluation_id, reference_evaluation_id)
);
