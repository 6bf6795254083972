-- aggregate_families: one row per row of aggregate_results: the family of tests that it belongs to, and its corrected p-values
CREATE OR REPLACE TABLE internal.aggregate_families (
    comparison_id VARCHAR,  -- -> records.id: record of the comparison
    metric VARCHAR,         -- the metric
    group_kind VARCHAR,     -- kind of the group of languages
    group_name VARCHAR,     -- name of the group of languages; empty for a kind of a single group
    task VARCHAR,           -- task of all evaluations
    split VARCHAR,          -- split of all evaluations
    is_largest BOOLEAN,     -- whether no other record of the variant, baseline, task, split, metric and group has more languages, or as many and more items
    test_family VARCHAR,    -- name of the family; NULL if the aggregate is not a test: on dev of a task with a test split, or not the largest one
    question_id VARCHAR,    -- -> questions: question that the family is, if a recipe declares it; NULL for an exploratory family
    is_primary BOOLEAN,     -- whether a recipe declares the question as primary; everything else is exploratory
    n_family BIGINT,        -- number of tests in the family
    p_corrected DOUBLE,     -- p_value after Holm's correction over the family
    q_bh DOUBLE,            -- p_value after the correction of Benjamini and Hochberg over the family, which bounds the false discovery rate
    PRIMARY KEY (comparison_id, metric, group_kind, group_name)
);
