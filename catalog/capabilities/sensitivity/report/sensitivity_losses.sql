-- sensitivity_losses: one row per analysis, language or group of languages, and unit: the loss if only the unit is pruned.
-- title: What does each language lose without a part?
-- anchor: sensitivity
-- draw: catalog.capabilities.sensitivity.panels:loss_panels
-- after: influence_by_language
-- topic: Inside the model
-- optional: true
-- explanation: Each part (block, layer kind, or layer of a block) is pruned alone. A cell is the loss against dense:
-- positive is worse; for perplexity, the logarithm of the ratio; for divergence, nats. Then the most sensitive parts of
-- each language or group with 95 % intervals; blue ones are significant after correction over the parts.
-- empty: The store has no sensitivity. An entry under sensitivity fills this figure.
SELECT
    b.name AS base_model, v.base_model_id, s.task, s.split, s.metric, s.scoring_rule, s.example_limit, q.protocol,
    s.unit_kind, s.sparsity, s.group_kind,
    CASE s.group_kind
        WHEN 'language' THEN s.group_name
        WHEN 'worst' THEN 'worst language'
        WHEN 'outside_english' THEN 'outside English'
        ELSE trim(replace(s.group_kind, '_', ' ') || ' ' || s.group_name)
    END AS language,
    s.unit, s.block, s.layer, s.loss, s.ci_low, s.ci_high, s.p_max_t, s.scale, s.n_items, s.removed_share,
    v.score, v.demonstration_label, s.variant_id, s.sensitivity_id
FROM sensitivity AS s
JOIN internal.variant_descriptions AS v ON v.variant_id = s.variant_id
JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
LEFT JOIN internal.protocols AS q ON q.protocol_id = s.protocol_id
ORDER BY
    base_model, v.base_model_id, s.task, s.metric, s.scoring_rule, s.unit_kind, s.sparsity, s.sensitivity_id,
    s.group_kind = 'language', s.group_kind, s.group_name <> 'en', s.group_name, s.block NULLS FIRST, s.layer;
