-- distance: one row per evaluation with distances of a pruned variant: how far its next-token distributions are from those
-- of the dense model, with 95 % intervals
-- title: Distance from dense
-- anchor: distance
-- after: perplexity
-- topic: Other tasks and texts
-- below: perplexity
-- optional: true
-- explanation: How far the next-token distributions of a variant are from the dense model's, over the tokens of the texts,
-- or of the references of generated texts. Divergence is Kullback-Leibler, in nats per token and per character; agreement
-- is the share of tokens with the same most probable token, change the mean absolute change of the log-probability of the
-- text's own token. Removed is the dense probability of tokens that a smaller vocabulary lacks; the other columns are over
-- the kept ones. Dense has 0. Values have 95 % intervals.
-- empty: No distance was measured. The key distance of an entry under evaluations, distance: true, fills this table.
-- column task: task
-- column language: language
-- column split: split
-- column label: variant
-- column sparsity: sparsity
-- column divergence: divergence [divergence_low, divergence_high]
-- column divergence_per_character: per character [per_character_low, per_character_high]
-- column top_agreement: agreement [top_agreement_low, top_agreement_high]
-- column log_prob_change: change [log_prob_change_low, log_prob_change_high]
-- column removed_mass: removed
WITH distances AS (
    SELECT
        evaluation_id,
        max(value) FILTER (metric = 'divergence_per_character') AS divergence_per_character,
        max(ci_low) FILTER (metric = 'divergence_per_character') AS per_character_low,
        max(ci_high) FILTER (metric = 'divergence_per_character') AS per_character_high,
        max(value) FILTER (metric = 'top_agreement') AS top_agreement,
        max(ci_low) FILTER (metric = 'top_agreement') AS top_agreement_low,
        max(ci_high) FILTER (metric = 'top_agreement') AS top_agreement_high,
        max(value) FILTER (metric = 'log_prob_change') AS log_prob_change,
        max(ci_low) FILTER (metric = 'log_prob_change') AS log_prob_change_low,
        max(ci_high) FILTER (metric = 'log_prob_change') AS log_prob_change_high,
        max(value) FILTER (metric = 'removed_mass') AS removed_mass
    FROM metrics
    GROUP BY evaluation_id
)
SELECT
    b.name AS base_model, m.task, m.language, m.split, v.label, coalesce(v.score, v.combination) AS score,
    v.intervention, v.set_kind, v.demonstration_label, v.seed, v.propagation, v.structure, v.settings, v.sparsity,
    m.scoring_rule, m.example_limit, q.protocol,
    m.value AS divergence, m.ci_low AS divergence_low, m.ci_high AS divergence_high,
    d.* EXCLUDE (evaluation_id), m.n, m.variant_id, m.evaluation_id
FROM measured AS m
JOIN distances AS d ON d.evaluation_id = m.evaluation_id
JOIN described_variants AS v ON v.variant_id = m.variant_id
JOIN internal.described_models AS b ON b.base_model_id = m.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = m.protocol_id
WHERE m.metric = 'divergence' AND NOT v.is_dense
ORDER BY
    base_model, m.task, m.language <> 'en', m.language, m.split, v.sparsity, score DESC NULLS FIRST, v.label,
    m.scoring_rule, m.example_limit, m.variant_id, m.evaluation_id;
