-- vocabulary_cost: one row per variant with a smaller vocabulary and language, kept languages first: what the language
-- pays. Perplexities are per character, so they are comparable between vocabularies. dense, masked and trimmed are those
-- of the base model, of the base model without removed tokens (only lines whose tokens are all kept), and of the variant.
-- Renormalising over fewer tokens lowers a perplexity by itself: cost is the ratio of the variant's perplexity, under the
-- normaliser of the base model, to the dense one, minus 1, with an interval of 95 % over lines. changed_lines are
-- segmented differently. Variants of one choice differ in the number of tokens that they keep.
-- topic: model
-- $language VARCHAR = NULL
SELECT
    coalesce(n.names, v.variant_id) AS variant,
    t.language,
    t.is_kept,
    exp(t.log_cost) - 1 AS cost,
    exp(t.log_cost_low) - 1 AS cost_low,
    exp(t.log_cost_high) - 1 AS cost_high,
    exp(-t.log_prob_dense / t.n_characters) AS perplexity_dense,
    exp(-t.log_prob_trimmed / t.n_characters) AS perplexity_trimmed,
    t.n_tokens_dense / t.n_words AS tokens_per_word_dense,
    t.n_tokens / t.n_words AS tokens_per_word,
    t.n_changed_lines / t.n_lines AS changed_lines,
    exp(-t.log_prob_dense_of_masked / t.n_masked_characters) AS perplexity_dense_of_masked,
    exp(-t.log_prob_masked / t.n_masked_characters) AS perplexity_masked,
    t.n_unknown / t.n_tokens AS unknown_share,
    t.n_partial_dense / t.n_tokens_dense AS partial_share_dense,
    t.n_partial / t.n_tokens AS partial_share,
    c.n_kept AS n_tokens,
    c.n_removed_weights / c.n_weights AS removed_weights,
    t.n_lines AS n,
    v.intervention_parameters AS keeps,
    concat_ws(
        ', ', v.intervention_parameters->>'keeps', coalesce(v.intervention_parameters->>'score', 'frequency'),
        'seed ' || (v.intervention_parameters->>'seed'), c.n_counted || ' tokens counted'
    ) AS choice,
    b.name AS base_model,
    v.base_model_id,
    t.variant_id,
    t.tokenizations_id
FROM tokenizations AS t
JOIN variants AS v ON v.variant_id = t.variant_id
JOIN vocabularies AS c ON c.variant_id = t.variant_id
JOIN described_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN (
    SELECT id, string_agg(DISTINCT name, ', ' ORDER BY name) AS names FROM names WHERE kind = 'variant' GROUP BY id
) AS n ON n.id = t.variant_id
WHERE $language::VARCHAR IS NULL OR t.language = $language::VARCHAR
ORDER BY v.base_model_id, variant, t.variant_id, t.is_kept DESC, t.language, t.tokenizations_id;
