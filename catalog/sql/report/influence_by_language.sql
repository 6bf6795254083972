-- influence_by_language: one row per demonstration set of one language and block: how much the block of the dense model
-- turns the hidden states of the set's tokens, with its interval over demonstrations.
-- title: How much does each block change the states?
-- anchor: influence
-- optional: true
-- explanation: Block influence of the dense model: the mean over tokens of 1 minus the cosine between the hidden states
-- before and after a block, with 95 % intervals over demonstrations.
-- empty: The store has no sensitivity. An entry under sensitivity fills this figure.
SELECT
    d.source_language AS language, i.block, i.influence, i.ci_low, i.ci_high, i.n_demonstrations, i.n_tokens,
    rank() OVER (PARTITION BY i.block_influence_id ORDER BY i.influence DESC) AS rank,
    d.kind, d.seed, b.name AS base_model, i.base_model_id, i.demonstration_set_id, i.block_influence_id
FROM block_influence AS i
JOIN demonstration_sets AS d ON d.demonstration_set_id = i.demonstration_set_id
JOIN internal.described_models AS b ON b.base_model_id = i.base_model_id
ORDER BY base_model, i.base_model_id, language <> 'en', language, i.block_influence_id, i.block;
