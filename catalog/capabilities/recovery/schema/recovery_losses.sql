-- recovery_losses: one row per recovered variant, step and demonstration set that was read or measured: the mean losses of its counted predictions. A variant that is derived from a recovered one has the rows of that variant
CREATE OR REPLACE TABLE recovery_losses (
    variant_id VARCHAR,            -- -> variants: the recovered variant
    step INTEGER,                  -- held out: steps that were taken before, 0 for the weights of the parent. Otherwise the step, from 1, whose demonstrations were read, with the weights before it
    demonstration_set_id VARCHAR,  -- -> demonstration_sets: the set
    is_held_out BOOLEAN,           -- whether the held-out tenth of the set was measured, not the demonstrations of the step
    n_positions BIGINT,            -- predictions that count
    divergence DOUBLE,             -- mean Kullback-Leibler divergence over the vocabulary between the dense model and the variant, in nats, in the direction of the recovery
    cross_entropy DOUBLE,          -- mean negative log-probability of the texts' own tokens, in nats
    is_stored BOOLEAN,             -- whether this measured state is the one whose weights are stored: the least weighted mean of the held-out losses
    PRIMARY KEY (variant_id, step, demonstration_set_id, is_held_out)
);
