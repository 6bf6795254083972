-- Which variants are the best trade-offs between English and the other languages?
-- `is_efficient`: on dev no other candidate is at least as good in both and better in one, `probability`: how often when
-- dev is resampled. The dense model competes too. Values are those of test. Named query: `pareto_front`.
SELECT label, is_efficient, round(probability, 2) AS probability, round(english_value, 3) AS english,
    round(others_value, 3) AS others, round(others_difference, 3) AS others_gain,
    round(others_ci_low, 3) AS gain_from, round(others_ci_high, 3) AS gain_to
FROM pareto
WHERE task = 'facts'
ORDER BY is_efficient DESC, probability DESC, variant_id
LIMIT 6;
