-- recipe_questions: one row per recipe and primary question that it declares: their tests are corrected together
CREATE OR REPLACE TABLE recipe_questions (
    recipe VARCHAR,       -- name of the recipe
    question_id VARCHAR,  -- -> questions: the question
    PRIMARY KEY (recipe, question_id)
);
