-- questions: one row per question of a recipe, declared or exploratory: its tests are a family
CREATE OR REPLACE TABLE questions (
    question_id VARCHAR,  -- id of the question and of the record of its answer
    declared_after BIGINT, -- number of evaluations of its variants, or of equal ones, on one of its items that existed when it was first declared: above 0 it is exploratory; NULL if it is not declared
    earlier_evaluation_id VARCHAR, -- id of the first of these evaluations; NULL if there are none
    is_declared BOOLEAN,  -- whether the recipe declares it; otherwise it is asked of every task
    recipe VARCHAR,       -- name of the recipe
    name VARCHAR,         -- name of the question in the recipe; empty if it is not declared
    variants VARCHAR,     -- entry of the recipe with the variants; empty for all
    against VARCHAR,      -- entry of the recipe with the baselines; dense for the dense model
    differs_in VARCHAR,   -- in what else a variant may differ from its baseline and does, such as language, seed; empty for nothing
    task VARCHAR,         -- the task
    split VARCHAR,        -- the split
    metric VARCHAR,       -- the metric
    group_kind VARCHAR,   -- group of languages as in aggregate_results, or language for a single language
    group_name VARCHAR,   -- name of the group as in aggregate_results, or the language
    claim VARCHAR,        -- gain, noninferior or equivalent
    margin DOUBLE,        -- margin of noninferior and equivalent; NULL for gain
    over VARCHAR,         -- each: one test per variant; mean: one test of the mean over the variants
    is_primary BOOLEAN,   -- whether the question is primary: declared as such, and before any of its results existed; otherwise it is exploratory
    criterion_id VARCHAR, -- equal for questions that differ only in their variants
    other_languages VARCHAR, -- other languages in which its variants had results on items with the same ids when it was declared; NULL for none
    n_seeds_declared BIGINT, -- number of seeds of its first declaration, if it asks about fewer or more: then it is exploratory; NULL otherwise
    awaits_masks BOOLEAN, -- true as long as it is exploratory because the masks of its variants were not yet compared with those of variants that have results; NULL otherwise
    PRIMARY KEY (question_id)
);
