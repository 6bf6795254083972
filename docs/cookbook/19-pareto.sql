-- Which variants are the best trade-offs between English and the other languages?
-- The front is chosen on dev, and the dense model competes. `probability`: how often the variant is on the front when dev
-- is resampled. Named query: `pareto_front`.
SELECT v.label, p.on_front_dev, p.probability, p.dev_english_value AS dev_english, p.dev_others_value AS dev_others,
    p.test_english_value AS test_english, p.test_others_value AS test_others, p.keeps_both_test
FROM pareto_chances AS p
JOIN described_variants AS v ON v.variant_id = p.variant_id
WHERE p.task = 'facts'
ORDER BY p.probability DESC, v.label
LIMIT 6;
