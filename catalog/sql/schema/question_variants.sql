-- question_variants: one row per declared question and variant that it asks about
CREATE OR REPLACE TABLE question_variants (
    question_id VARCHAR,  -- -> questions: the question
    variant_id VARCHAR,   -- id of the variant, which exists once its run has made it
    baseline_id VARCHAR,  -- id of the variant that it is compared with
    declared_after BIGINT, -- number of the evaluations of the variant, or of an equal one, on one of its items that existed when the question was first declared for it
    earlier_evaluation_id VARCHAR, -- id of the first of these evaluations; NULL if there are none
    n_known_baselines BIGINT, -- number of choices among the baselines with results at that time that differ from this one in seeds only: of one of them, or of as many as a mean asks about; at most 1,000,000; 1 if the question asks about all of them; NULL if the baseline had no results
    nearest_variant_id VARCHAR, -- id of the variant that had results at that time, has the same model, score and sets, and whose masks agree most; NULL for none
    mask_agreement DOUBLE, -- share of the weights that both keep or both remove; NULL for none
    PRIMARY KEY (question_id, variant_id, baseline_id)
);
