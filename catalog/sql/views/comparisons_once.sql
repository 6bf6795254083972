-- comparisons_once: one row per pair of evaluations and metric, of profile corrected.
CREATE OR REPLACE VIEW comparisons_once AS
SELECT * FROM comparisons WHERE profile = 'corrected';
-- p_holm: p_value after Holm's correction over the languages of one comparison and metric
