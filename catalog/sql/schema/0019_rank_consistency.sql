-- rank_consistency: one row per variant, task, split and ordered pair of languages: do both rank the candidates alike
CREATE TABLE rank_consistency (
    variant_id VARCHAR,          -- the variant
    task VARCHAR,                -- the task
    language VARCHAR,            -- first language
    reference_language VARCHAR,  -- language it is compared with
    split VARCHAR,               -- dev or test
    n_items BIGINT,              -- items both languages share
    n_skipped BIGINT,            -- shared items left out because their candidate counts differ
    value DOUBLE,                -- RankC, in [0, 1]; 1 is the same ranking everywhere
    PRIMARY KEY (variant_id, task, language, reference_language, split)
);
