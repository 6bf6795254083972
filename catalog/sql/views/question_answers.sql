-- question_answers: one row per question with an answer: its tests counted by verdict. A question with one test has the
-- verdict of this test. One with several has a tally, such as `yes 2, no 1, not shown 1 of 4`, and no verdict of its own.
CREATE OR REPLACE VIEW internal.question_answers AS
WITH counted AS (
    SELECT
        question_id, count(*) AS n_answers,
        count(*) FILTER (verdict = 'yes') AS n_yes,
        count(*) FILTER (verdict = 'no') AS n_no,
        count(*) FILTER (verdict = 'not shown') AS n_not_shown,
        count(*) FILTER (verdict = 'exploratory') AS n_exploratory,
        count(*) FILTER (verdict = 'cannot be asked') AS n_not_askable,
        min(verdict) AS verdict,
        string_agg(DISTINCT verdict_reason, ' and ' ORDER BY verdict_reason) AS reason
    FROM internal.verdicts
    GROUP BY question_id
)
SELECT
    * EXCLUDE (verdict),
    CASE
        WHEN n_answers = 1 THEN verdict
        ELSE concat_ws(
            ', ',
            'yes ' || nullif(n_yes, 0),
            'no ' || nullif(n_no, 0),
            'not shown ' || nullif(n_not_shown, 0),
            'exploratory ' || nullif(n_exploratory, 0),
            'cannot be asked ' || nullif(n_not_askable, 0)
        ) || ' of ' || n_answers
    END AS answer
FROM counted;
-- n_answers: number of tests of the question that have a result
-- n_yes: number of tests whose verdict is yes
-- n_no: number of tests whose verdict is no
-- n_not_shown: number of tests whose verdict is not shown
-- n_exploratory: number of tests whose verdict is exploratory
-- n_not_askable: number of tests whose verdict is cannot be asked
-- reason: why tests cannot be asked; NULL if all can
-- answer: the verdict of the only test, or the tally of several
