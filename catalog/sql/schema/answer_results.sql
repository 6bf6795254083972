-- answer_results: one row per question and variant, or per question about the mean of all variants: the paired difference and its tests; the view answers has their corrected p-values
CREATE OR REPLACE TABLE answer_results (
    question_id VARCHAR,              -- id of the question and of its answer's record
    comparison_id VARCHAR,            -- record of the comparison; empty for the mean of all variants
    variant_id VARCHAR,               -- -> variants: the variant; NULL for the mean of all variants
    baseline_id VARCHAR,              -- -> variants: variant that it is compared with; NULL for several
    n_variants BIGINT,                -- number of variants in the mean, else 1
    n_languages BIGINT,               -- number of languages
    n_items BIGINT,                   -- number of different items, which languages may share
    n_clusters BIGINT,                -- number of different clusters of items
    n_seeds BIGINT,                   -- number of different seeds of demonstrations or of the random score; 0 if nothing is drawn
    n_baseline_seeds BIGINT,          -- number of different seeds of the baselines that are not paired with the variants' seeds; 0 without any; NULL in records of earlier versions
    difference DOUBLE,                -- the variant's value minus the baseline's, on the scale
    scale VARCHAR,                    -- difference, nats for divergences, or log_ratio for perplexity: exp(difference) is the ratio of the two values
    ci_low DOUBLE,                    -- lower end of the difference's 95 % interval
    ci_high DOUBLE,                   -- upper end of the difference's 95 % interval
    ci90_low DOUBLE,                  -- lower end of the 90 % interval, which tests a margin at 5 %
    ci90_high DOUBLE,                 -- upper end of the 90 % interval
    interval VARCHAR,                 -- method of the 95 % interval: as in the comparison, or for the mean sign_flip, crossed_t (seeds and items) or student
    standard_error DOUBLE,            -- standard error of the difference
    error_of_seeds DOUBLE,            -- part of a mean's standard error that the variants' seeds cause; the squares of the three parts add up to its square. NULL for a single variant
    error_of_baseline_seeds DOUBLE,   -- the same of unpaired seeds of the baselines
    error_of_items DOUBLE,            -- the same of the items that all seeds share
    p_value DOUBLE,                   -- two-sided p-value of no difference, without correction for other tests
    test VARCHAR,                     -- method of p_value
    margin DOUBLE,                    -- margin of the claim; NULL for a gain
    p_margin DOUBLE,                  -- noninferior: one-sided p-value of "worse by at least the margin"; equivalent: the larger p-value of the two one-sided tests; NULL for a gain
    p_opposite DOUBLE,                -- noninferior: one-sided p-value of "worse by at most the margin"; equivalent: twice the smaller p-value of "worse" and "better by at most the margin"; NULL for a gain, and in records before version 3
    chance DOUBLE,                    -- mean chance level of the baseline's evaluations; NULL for metrics without one
    dtype VARCHAR,                    -- dtype of weights and arithmetic of the evaluations
    conditional_on_one_draw BOOLEAN,  -- whether the answer holds for one draw of demonstrations or of random scores only
    PRIMARY KEY (question_id, comparison_id)
);
