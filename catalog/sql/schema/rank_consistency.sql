-- rank_consistency: one row per pair of languages of a variant: how similarly the two rank the candidates. English is the reference of its pairs, else the pair is in alphabetical order
CREATE OR REPLACE TABLE rank_consistency (
    variant_id VARCHAR,               -- -> variants: the variant
    baseline_id VARCHAR,              -- -> variants: the dense variant that it is compared with; NULL for that one
    task VARCHAR,                     -- the task
    language VARCHAR,                 -- first language
    reference_language VARCHAR,       -- language it is compared with
    split VARCHAR,                    -- dev or test
    n_items BIGINT,                   -- number of items that both languages share
    n_skipped BIGINT,                 -- number of shared ids that were skipped because their right candidates or candidate counts differ
    n_clusters BIGINT,                -- number of clusters of the items
    value DOUBLE,                     -- RankC, in [0, 1]; 1 means equal rankings of all items
    ci_low DOUBLE,                    -- lower end of the 95 % interval of value (BCa over clusters); NULL for a single cluster
    ci_high DOUBLE,                   -- upper end of it
    chance DOUBLE,                    -- RankC of unrelated rankings of these candidates
    corrected DOUBLE,                 -- (value - chance) / (1 - chance): 0 at chance, 1 for equal rankings
    corrected_ci_low DOUBLE,          -- lower end of the 95 % interval of corrected
    corrected_ci_high DOUBLE,         -- upper end of it
    expected DOUBLE,                  -- mean RankC if the wrong candidates of the two languages are unrelated: every item keeps the ranks of its right candidate
    above_expected DOUBLE,            -- value - expected: agreement about the wrong candidates
    above_expected_ci_low DOUBLE,     -- lower end of the 95 % interval of above_expected
    above_expected_ci_high DOUBLE,    -- upper end of it
    n_both_wrong BIGINT,              -- number of items on which both languages are wrong
    agreement_both_wrong DOUBLE,      -- share of these on which both prefer the same wrong candidate
    chance_both_wrong DOUBLE,         -- the share for unrelated answers: mean of 1 / (number of candidates - 1)
    difference DOUBLE,                -- value minus that of the baseline on the same items; NULL for the baseline
    difference_ci_low DOUBLE,         -- lower end of the 95 % interval of difference, which inverts the test of p_value
    difference_ci_high DOUBLE,        -- upper end of it
    p_value DOUBLE,                   -- two-sided p-value of difference by sign flips of clusters, without correction for other comparisons; NULL on dev, where variants are chosen
    evaluation_id VARCHAR,            -- -> evaluations: evaluation in the first language
    reference_evaluation_id VARCHAR,  -- -> evaluations: evaluation in the reference language
    scoring_rule VARCHAR,             -- scoring rule of both evaluations
    example_limit BIGINT,             -- number of examples that were asked for; NULL for the full split
    protocol_id VARCHAR,              -- protocol of both evaluations
    profile VARCHAR,                  -- corrected, or paper: of paper evaluations, ranked by ascending score as published
    PRIMARY KEY (variant_id, task, language, reference_language, split, evaluation_id, reference_evaluation_id)
);
