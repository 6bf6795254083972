-- search_trials: one row per trial of a search, in the order in which they were asked; rows are added while the search runs
CREATE OR REPLACE TABLE search_trials (
    search_id VARCHAR,        -- id of the search, which names gives under the kind search
    batch_id VARCHAR,         -- -> records.id: record of the batch
    number BIGINT,            -- number of the trial, from 0
    batch BIGINT,             -- number of the batch, from 0
    rung BIGINT,              -- index of the number of items, from 0
    item_limit BIGINT,        -- items per language of the rung; NULL for all
    parent BIGINT,            -- number of the trial that it was derived from; NULL without one
    variant_id VARCHAR,       -- -> variants: the trial
    point JSON,               -- value of each axis and level of each unit
    n_items BIGINT,           -- items x languages that its values are based on
    n_new_items BIGINT,       -- those of evaluations that the search did not ask for before
    n_items_so_far BIGINT,    -- sum of n_new_items up to this trial
    objective DOUBLE,         -- value of the objective; NULL if it is not finite
    ci_low DOUBLE,            -- lower end of its 95 % interval; NULL if it does not vary between resamples
    ci_high DOUBLE,           -- upper end of its 95 % interval
    dense_objective DOUBLE,   -- value of the dense model on the same items
    violation DOUBLE,         -- sum of the amounts by which the constraints are missed; NULL if it is infinite
    is_feasible BOOLEAN,      -- whether all constraints are met
    p_worse DOUBLE,           -- one-sided p-value of the hypothesis that it is at least as good as the best trial of its rung so far; NULL for that trial
    status VARCHAR,           -- kept or stopped
    reason VARCHAR,           -- why
    missed VARCHAR[],         -- the constraints that it misses; NULL for methods other than one_by_one
    PRIMARY KEY (batch_id, number)
);
