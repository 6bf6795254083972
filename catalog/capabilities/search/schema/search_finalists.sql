-- search_finalists: one row per report of a search and variant that it evaluates: the winner, and what it is compared with
CREATE OR REPLACE TABLE search_finalists (
    result_id VARCHAR,     -- -> searches: the report
    search_id VARCHAR,     -- id of the search, which names gives under the kind search
    role VARCHAR,          -- winner, uniform (equal sparsity everywhere), owl, dlp or alpha_pruning (equal sparsity, this schedule) or random (winner of a random search)
    variant_id VARCHAR,    -- -> variants: the variant
    test_value DOUBLE,     -- objective on the split of the report
    test_ci_low DOUBLE,    -- lower end of its 95 % interval
    test_ci_high DOUBLE,   -- upper end of its 95 % interval
    difference DOUBLE,     -- the winner's value minus this one; NULL for the winner
    ci_low DOUBLE,         -- lower end of the difference's 95 % interval
    ci_high DOUBLE,        -- upper end of the difference's 95 % interval
    p_worse DOUBLE,        -- one-sided p-value of the hypothesis that this variant is at least as good as the winner
    PRIMARY KEY (result_id, role)
);
