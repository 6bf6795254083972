-- questions: one row per question that a recipe declares before its run: the tests of a question are a family
CREATE OR REPLACE TABLE questions (
    question_id VARCHAR,  -- id of the question
    recipe VARCHAR,       -- name of the recipe
    name VARCHAR,         -- name of the question in the recipe
    variants VARCHAR,     -- entry of the recipe with the variants
    against VARCHAR,      -- entry of the recipe with the baselines; dense for the dense model
    task VARCHAR,         -- the task
    split VARCHAR,        -- the split
    metric VARCHAR,       -- the metric
    group_kind VARCHAR,   -- group of languages as in aggregate_results, or language for a single language
    group_name VARCHAR,   -- name of the group as in aggregate_results, or the language
    claim VARCHAR,        -- gain, noninferior or equivalent
    margin DOUBLE,        -- margin of noninferior and equivalent; NULL for gain
    over VARCHAR,         -- each: one test per variant; mean: one test of the mean over the variants
    is_primary BOOLEAN,   -- whether the question is primary; otherwise it is exploratory
    PRIMARY KEY (question_id)
);
