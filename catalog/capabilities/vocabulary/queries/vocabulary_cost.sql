-- vocabulary_cost: what a smaller vocabulary costs. One row per variant with a smaller vocabulary and language, kept
-- languages first. Perplexities are per character, so they are comparable between vocabularies. dense, masked and
-- trimmed are those of the base model, of the base model without removed tokens (only lines whose tokens are all kept),
-- and of the variant. Renormalising over fewer tokens lowers a perplexity by itself: cost is the ratio of the variant's
-- perplexity, under the normaliser of the base model, to the dense one, minus 1, with an interval of 95 % over the n
-- lines that fit the model; n_longer lines are left out, because their tokens, before or after, are more than it has
-- positions. changed_lines are segmented differently. Variants of one choice differ in the number of tokens that they
-- keep. value to n_items are about an evaluated task. Languages have a row if they have a cost, or if the task was
-- evaluated in them. The difference is the variant minus the dense model, on the same examples; of several evaluation
-- setups that with most items. is_kept is empty for the tokens of an adopted checkpoint.
-- topic: model
-- $language VARCHAR = NULL
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
WITH changes AS (
    SELECT *
    FROM internal.against_dense
    WHERE group_kind = 'language' AND task = $task AND metric = $metric AND split = $split
        AND scoring_rule IN ('mean', 'greedy', 'sum')
    QUALIFY row_number() OVER (PARTITION BY variant_id, language ORDER BY n_items DESC, protocol_id, evaluation_id) = 1
),
measured_languages AS (
    SELECT variant_id, language FROM tokenizations
    UNION
    SELECT variant_id, language FROM changes
)
SELECT
    coalesce(n.names, v.variant_id) AS variant,
    l.language,
    CASE WHEN l.variant_id IN (SELECT variant_id FROM tokenizations) THEN coalesce(t.is_kept, false) END AS is_kept,
    exp(t.log_cost) - 1 AS cost,
    exp(t.log_cost_low) - 1 AS cost_low,
    exp(t.log_cost_high) - 1 AS cost_high,
    t.n_longer_lines AS n_longer,
    exp(-t.log_prob_dense / nullif(t.n_characters, 0)) AS perplexity_dense,
    exp(-t.log_prob_trimmed / nullif(t.n_characters, 0)) AS perplexity_trimmed,
    t.n_tokens_dense / nullif(t.n_words, 0) AS tokens_per_word_dense,
    t.n_tokens / nullif(t.n_words, 0) AS tokens_per_word,
    t.n_changed_lines / nullif(t.n_lines, 0) AS changed_lines,
    exp(-t.log_prob_dense_of_masked / t.n_masked_characters) AS perplexity_dense_of_masked,
    exp(-t.log_prob_masked / t.n_masked_characters) AS perplexity_masked,
    t.n_unknown / nullif(t.n_tokens, 0) AS unknown_share,
    t.n_partial_dense / nullif(t.n_tokens_dense, 0) AS partial_share_dense,
    t.n_partial / nullif(t.n_tokens, 0) AS partial_share,
    c.n_kept AS n_tokens,
    c.n_removed_weights / c.n_weights AS removed_weights,
    t.n_lines AS n,
    d.value, d.dense_value, d.difference, d.ci_low, d.ci_high, d.p_value, d.p_corrected, d.n_family, d.scale, d.n_items,
    v.intervention_parameters AS keeps,
    concat_ws(
        ', ', v.intervention_parameters->>'keeps', coalesce(v.intervention_parameters->>'score', 'frequency'),
        'seed ' || (v.intervention_parameters->>'seed'), c.n_counted || ' tokens counted'
    ) AS choice,
    b.name AS base_model,
    v.base_model_id,
    l.variant_id,
    t.tokenizations_id
FROM measured_languages AS l
JOIN variants AS v ON v.variant_id = l.variant_id
JOIN vocabularies AS c ON c.variant_id = l.variant_id
JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN (
    SELECT id, string_agg(DISTINCT name, ', ' ORDER BY name) AS names FROM names WHERE kind = 'variant' GROUP BY id
) AS n ON n.id = l.variant_id
LEFT JOIN tokenizations AS t ON t.variant_id = l.variant_id AND t.language = l.language
LEFT JOIN changes AS d ON d.variant_id = l.variant_id AND d.language = l.language
WHERE $language::VARCHAR IS NULL OR l.language = $language::VARCHAR
ORDER BY v.base_model_id, variant, l.variant_id, is_kept DESC, l.language, t.tokenizations_id;
