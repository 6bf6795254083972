-- question_variants: one row per declared question and variant that it asks about
CREATE OR REPLACE TABLE question_variants (
    question_id VARCHAR,  -- -> questions: the question
    variant_id VARCHAR,   -- id of the variant, which exists once its run has made it
    baseline_id VARCHAR,  -- id of the variant that it is compared with
    declared_after BIGINT, -- number of the variant's evaluations with a common item that existed when the question was first declared for it
    earlier_evaluation_id VARCHAR, -- id of the first of these evaluations; NULL if there are none
    PRIMARY KEY (question_id, variant_id, baseline_id)
);
