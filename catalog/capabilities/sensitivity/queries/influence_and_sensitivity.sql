-- influence_and_sensitivity: one row per language, block and demonstration set of the language: how much the block turns
-- the hidden states (influence), and what the language loses if only this block is pruned, both with intervals.
-- rank_correlation is Spearman's over the blocks, without an interval.
-- topic: model
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'dev'
WITH joined AS (
    SELECT
        i.block_influence_id, s.sensitivity_id, s.group_name AS language, i.block,
        i.influence, i.ci_low AS influence_low, i.ci_high AS influence_high,
        s.loss, s.ci_low AS loss_low, s.ci_high AS loss_high, s.p_max_t, s.scale, s.sparsity,
        d.kind, d.seed, s.scoring_rule, s.example_limit, s.protocol_id, i.base_model_id, i.demonstration_set_id
    FROM block_influence AS i
    JOIN demonstration_sets AS d ON d.demonstration_set_id = i.demonstration_set_id
    JOIN sensitivity AS s
        ON s.unit_kind = 'block' AND s.block = i.block AND s.group_kind = 'language' AND s.group_name = d.source_language
    JOIN variants AS v ON v.variant_id = s.variant_id AND v.base_model_id = i.base_model_id
    WHERE s.task = $task AND s.metric = $metric AND s.split = $split
),
ranked AS (
    SELECT
        *,
        rank() OVER (analysis ORDER BY influence) + (count(*) OVER same_influence - 1) / 2 AS influence_place,
        rank() OVER (analysis ORDER BY loss) + (count(*) OVER same_loss - 1) / 2 AS loss_place
    FROM joined
    WINDOW
        analysis AS (PARTITION BY block_influence_id, sensitivity_id),
        same_influence AS (PARTITION BY block_influence_id, sensitivity_id, influence),
        same_loss AS (PARTITION BY block_influence_id, sensitivity_id, loss)
)
SELECT
    r.language, r.block, r.influence, r.influence_low, r.influence_high, r.loss, r.loss_low, r.loss_high, r.p_max_t,
    corr(r.influence_place, r.loss_place) OVER (PARTITION BY r.block_influence_id, r.sensitivity_id)
        AS rank_correlation,
    r.scale, r.sparsity, r.kind, r.seed, r.scoring_rule, r.example_limit, q.protocol, r.base_model_id,
    r.demonstration_set_id, r.sensitivity_id
FROM ranked AS r
LEFT JOIN internal.protocols AS q ON q.protocol_id = r.protocol_id
ORDER BY r.base_model_id, r.sparsity, r.sensitivity_id, r.language, r.demonstration_set_id, r.block;
