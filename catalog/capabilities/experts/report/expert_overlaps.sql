-- expert_overlaps: one row per pair of languages whose sets differ in nothing else, block and share: the Jaccard index of
-- the experts to which most tokens of the two languages are routed, and its mean for two random choices of as many
-- experts. weighted compares the shares of tokens of all experts, 1 if they are equal. p_value is that of a permutation
-- test of weighted that exchanges demonstrations between the sets: small if the languages differ more than two samples
-- of one text. The p-values are exploratory and not corrected.
-- title: Do languages share their experts?
-- anchor: expert-overlaps
-- draw: catalog.capabilities.experts.panels:overlap_panels
-- after: expert_use
-- topic: Inside the model
-- optional: true
-- explanation: The experts to which a block routes most tokens of two languages: those of both divided by those of
-- either, next to the value for random experts. A star means that the routing of the two languages differs more than
-- that of random halves of their demonstrations (p < 0.05, not corrected).
-- empty: The store has no overlaps of experts. Sets of several languages under analyses, experts fill this figure.
SELECT
    a.source_language AS language_a, b.source_language AS language_b, o.block, o.jaccard, o.by_chance,
    o.weighted, o.p_value, o.n_top, o.share, a.kind, a.target_language, a.seed, o.set_a, o.set_b,
    m.source AS base_model, o.base_model_id, r.dtype
FROM expert_overlaps AS o
JOIN demonstration_sets AS a ON a.demonstration_set_id = o.set_a
JOIN demonstration_sets AS b ON b.demonstration_set_id = o.set_b
LEFT JOIN base_models AS m ON m.base_model_id = o.base_model_id
LEFT JOIN records AS r ON r.kind = 'expert_statistics' AND r.id = o.statistics_a
ORDER BY
    o.base_model_id, r.dtype, o.share, language_a, language_b, a.kind, a.target_language, a.seed, o.set_a, o.set_b, o.block,
    o.statistics_a, o.statistics_b;
