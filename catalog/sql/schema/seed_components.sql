-- seed_components: one row per metric, language or group of languages, and group of variants that differ in nothing but a seed: their mean difference to dense, and how much of it is due to the seed
CREATE OR REPLACE TABLE seed_components (
    seed_components_id VARCHAR,  -- id of the record
    variant_id VARCHAR,          -- -> variants: the variant with the smallest seed, for the columns that all variants share
    variant_ids VARCHAR[],       -- ids of all variants, by ascending seed
    seeds BIGINT[],              -- their seeds
    seed_of VARCHAR,             -- what the seed draws: demonstrations, score (the random score) or resamples (bootstraps of the demonstrations)
    baseline_id VARCHAR,         -- -> variants: dense variant that all are compared with
    task VARCHAR,                -- task of all evaluations
    split VARCHAR,               -- split of all evaluations
    metric VARCHAR,              -- the metric
    group_kind VARCHAR,          -- language, or outside_english
    group_name VARCHAR,          -- the language or pair; empty for outside_english
    languages VARCHAR,           -- languages of the group, sorted, with blanks between them
    n_languages BIGINT,          -- number of languages
    n_seeds BIGINT,              -- number of seeds
    n_items BIGINT,              -- number of different items, which languages may share
    n_clusters BIGINT,           -- number of different clusters of items, which languages share
    difference DOUBLE,           -- mean over seeds and languages of the variant's value minus the baseline's; if scale is log_ratio, of ln(variant's value / baseline's)
    scale VARCHAR,               -- difference, nats for divergences, or log_ratio for perplexity: exp(difference) is the ratio of the two values
    ci_low DOUBLE,               -- lower end of the difference's 95 % interval for other seeds and other items; NULL if neither seeds nor items vary
    ci_high DOUBLE,              -- upper end of it
    interval VARCHAR,            -- method of the interval: t below ten seeds, else two_way_bootstrap
    standard_error DOUBLE,       -- standard error of the difference for other seeds and other items
    bootstrap_ci_low DOUBLE,     -- lower end of the two-way bootstrap's interval; a check below ten seeds, where it is too narrow for seeds
    bootstrap_ci_high DOUBLE,    -- upper end of it
    seed_variance DOUBLE,        -- variance of the difference over seeds if there were infinitely many items
    item_variance DOUBLE,        -- variance of the difference of one seed over samples of items
    language_variance DOUBLE,    -- variance of the difference over languages if there were infinitely many seeds and items; NULL for one language
    seed_share DOUBLE,           -- seed_variance / (seed_variance + item_variance)
    sd_seed DOUBLE,              -- standard deviation of the seeds' differences (divisor n_seeds - 1)
    sd_seed_ci_low DOUBLE,       -- lower end of the 95 % interval of sd_seed (chi-square); NULL for a sd_seed of 0
    sd_seed_ci_high DOUBLE,      -- upper end of it
    scoring_rule VARCHAR,        -- scoring rule of all evaluations
    example_limit BIGINT,        -- number of examples that were asked for; NULL for the full split
    prompt_language VARCHAR,     -- prompt language of all evaluations; NULL if each has the prompts of its language
    protocol_id VARCHAR,         -- protocol of all evaluations
    profile VARCHAR,             -- profile of all evaluations: corrected or paper
    PRIMARY KEY (seed_components_id, metric, group_kind, group_name)
);
