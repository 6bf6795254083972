-- mean_powers: one row per answer about a mean over variants and size of its family of tests: what the first step of Holm's correction can find
CREATE OR REPLACE TABLE internal.mean_powers (
    question_id VARCHAR,           -- -> questions: the question
    n_family BIGINT,               -- number of tests in the family
    detectable_difference DOUBLE,  -- true difference that the test of the claim finds with a power of 80 % if the error is as estimated; of a margin, the margin that is shown if the true difference is 0; NULL without an error
    PRIMARY KEY (question_id, n_family)
);
