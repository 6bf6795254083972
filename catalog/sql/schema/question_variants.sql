-- question_variants: one row per question and variant that it asks about
CREATE OR REPLACE TABLE question_variants (
    question_id VARCHAR,  -- -> questions: the question
    variant_id VARCHAR,   -- -> variants: the variant
    baseline_id VARCHAR,  -- -> variants: variant that it is compared with
    PRIMARY KEY (question_id, variant_id, baseline_id)
);
