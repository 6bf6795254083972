-- question_records: one row per record of a recipe and question that it declares
CREATE OR REPLACE TABLE question_records (
    record_id VARCHAR,    -- id of the record of the recipe: a hash of all that it declares
    question_id VARCHAR,  -- -> questions: the question
    title VARCHAR,        -- title that the recipe gives to the question; NULL for none
    PRIMARY KEY (record_id, question_id)
);
