-- quarantined_questions: one row per recipe, declared question and record of a recipe that is damaged or in quarantine and
-- has no sound record in its place: as far as it can be read, the question stays in the family of the recipe
CREATE OR REPLACE TABLE quarantined_questions (
    recipe VARCHAR,       -- name of the recipe, as the damaged record states it
    question_id VARCHAR,  -- id of the question, as the damaged record states it
    record_id VARCHAR,    -- id of the record that was stored under this name
    PRIMARY KEY (recipe, question_id, record_id)
);
