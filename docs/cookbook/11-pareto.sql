-- Which variants are the best trade-offs between English and the other languages?
-- `is_efficient`: no other variant is at least as good in both and better in one. The dense model competes too. Named
-- query: `pareto_front`.
SELECT p.label, v.demonstration_label, p.sparsity, round(p.english_value, 3) AS english,
    round(p.others_value, 3) AS others, p.is_efficient
FROM pareto AS p
JOIN described_variants AS v ON v.variant_id = p.variant_id
WHERE p.task = 'facts'
ORDER BY p.is_efficient DESC, p.english_value + p.others_value DESC, p.variant_id
LIMIT 6;
