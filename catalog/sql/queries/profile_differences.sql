-- profile_differences: one row per pair of variants that differ in nothing but the profile, block and layer: the
-- fraction of the mask entries that differ between the published code's choices and the corrected ones. A row without a
-- layer is for the whole block, one without a block for the whole model. From the Jaccard index J of the removed sets A
-- and B: |A and B| = J / (1 + J) * (|A| + |B|), and |A| + |B| - 2 |A and B| entries differ. share_by_chance is the
-- value for two unrelated masks of these sizes. Sets are compared by the columns of demonstration_sets. settings are
-- those of the corrected variant, which may read the published code's sentences. Pairs that a recipe leaves out of
-- analyses.mask_overlaps are missing.
-- $variant_id VARCHAR = NULL
WITH pairs AS (
    SELECT
        p.variant_a, p.variant_b,
        CASE WHEN a.profile = 'corrected' THEN p.variant_a ELSE p.variant_b END AS corrected_id,
        CASE WHEN a.profile = 'corrected' THEN p.variant_b ELSE p.variant_a END AS paper_id
    FROM mask_pairs AS p
    JOIN described_variants AS a ON a.variant_id = p.variant_a
    JOIN described_variants AS b ON b.variant_id = p.variant_b
    WHERE p.differs_in = 'profile' AND list_sort([a.profile, b.profile]) = ['corrected', 'paper']
        AND ($variant_id::VARCHAR IS NULL OR $variant_id::VARCHAR IN (p.variant_a, p.variant_b))
),
layers AS (
    SELECT
        p.corrected_id, p.paper_id, o.block, o.layer, c.n_weights,
        c.n_removed AS n_removed_corrected,
        q.n_removed AS n_removed_paper,
        round(o.jaccard / (1 + o.jaccard) * (c.n_removed + q.n_removed))::BIGINT AS n_removed_by_both
    FROM pairs AS p
    JOIN mask_overlaps AS o ON o.variant_a = p.variant_a AND o.variant_b = p.variant_b
    JOIN variant_layers AS c ON c.variant_id = p.corrected_id AND c.block = o.block AND c.layer = o.layer
    JOIN variant_layers AS q ON q.variant_id = p.paper_id AND q.block = o.block AND q.layer = o.layer
),
counted AS (
    SELECT
        corrected_id, paper_id, block, layer,
        sum(n_weights)::BIGINT AS n_weights,
        sum(n_removed_corrected)::BIGINT AS n_removed_corrected,
        sum(n_removed_paper)::BIGINT AS n_removed_paper,
        sum(n_removed_by_both)::BIGINT AS n_removed_by_both,
        sum(
            (n_removed_corrected * (n_weights - n_removed_paper) + n_removed_paper * (n_weights - n_removed_corrected))
            / nullif(n_weights, 0)
        ) AS n_by_chance
    FROM layers
    GROUP BY GROUPING SETS (
        (corrected_id, paper_id, block, layer), (corrected_id, paper_id, block), (corrected_id, paper_id)
    )
)
SELECT
    m.source AS base_model, v.score, v.structure, v.propagation, v.sparsity, v.demonstration_label,
    v.settings, w.settings AS paper_settings, v.label,
    n.block, n.layer, n.n_weights, n.n_removed_corrected, n.n_removed_paper, n.n_removed_by_both,
    n.n_removed_corrected + n.n_removed_paper - 2 * n.n_removed_by_both AS n_differing,
    (n.n_removed_corrected + n.n_removed_paper - 2 * n.n_removed_by_both) / nullif(n.n_weights, 0) AS share_differing,
    round(n.n_by_chance / nullif(n.n_weights, 0), 12) AS share_by_chance,
    coalesce(
        n.n_removed_by_both / nullif(n.n_removed_corrected + n.n_removed_paper - n.n_removed_by_both, 0), 1
    ) AS jaccard,
    n.corrected_id, n.paper_id, v.base_model_id
FROM counted AS n
JOIN described_variants AS v ON v.variant_id = n.corrected_id
JOIN described_variants AS w ON w.variant_id = n.paper_id
LEFT JOIN base_models AS m ON m.base_model_id = v.base_model_id
ORDER BY
    base_model, v.base_model_id, v.score, v.demonstration_label, v.propagation, v.structure, v.settings, v.sparsity,
    n.corrected_id, n.paper_id, n.block NULLS FIRST, n.layer NULLS FIRST;
