-- test_powers: one row per size of a family of tests (n_items and n_changed are 0), and per size, number of independent items and of changed items: what the first step of Holm's correction can find
CREATE OR REPLACE TABLE internal.test_powers (
    n_family BIGINT,               -- number of tests in the family
    n_items BIGINT,                -- number of independent items; 0 for what depends on the family alone
    n_changed BIGINT,              -- number of items that changed in either direction
    quantile DOUBLE,               -- quantile of the normal distribution at 1 - 0.025 / n_family
    fewest_items BIGINT,           -- smallest number of items whose change in one direction has p < 0.05 / n_family in Tango's test
    fewest_clusters BIGINT,        -- smallest number of clusters whose change in one direction has p < 0.05 / n_family under sign flips
    detectable_difference DOUBLE,  -- true difference that Tango's test of these items finds with a power of 80 %; NULL without items, or if even a change of all is not found
    PRIMARY KEY (n_family, n_items, n_changed)
);
