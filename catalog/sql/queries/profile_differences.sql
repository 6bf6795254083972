-- profile_differences: what choices of the published code change. One row per effect of these choices (profile paper) on a
-- mask or on a metric. compared is masks or metrics. masks: one row per pair of variants that differ in nothing but the
-- profile, block and layer: the fraction of the mask entries that differ. A row without a layer is for the whole block, one
-- without a block for the whole model. From the Jaccard index J of the removed sets A and B: |A and B| = J / (1 + J) * (|A|
-- + |B|), and |A| + |B| - 2 |A and B| entries differ. share_by_chance is the value for two unrelated masks of these sizes.
-- Sets are compared by the columns of demonstration_sets. settings are those of the corrected variant, which may read the
-- published code's sentences. Pairs that a recipe leaves out of analyses.mask_overlaps are missing. metrics: one row per
-- variant, task, language (for rank_consistency also reference_language), split and metric that was evaluated in both
-- profiles: both values with their intervals, paper minus corrected (the difference has no test: the profiles may differ in
-- their examples), and the number of examples of each.
-- topic: methods
-- $variant_id VARCHAR = NULL
WITH pairs AS (
    SELECT
        p.variant_a, p.variant_b,
        CASE WHEN a.profile = 'corrected' THEN p.variant_a ELSE p.variant_b END AS corrected_id,
        CASE WHEN a.profile = 'corrected' THEN p.variant_b ELSE p.variant_a END AS paper_id
    FROM internal.mask_pairs AS p
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
),
masks AS (
    SELECT
        'masks' AS compared,
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
),
evaluated AS (
    SELECT
        m.profile, m.variant_id, m.task, m.language, NULL AS reference_language, m.split, m.metric, m.value, m.ci_low, m.ci_high,
        m.n,
        m.evaluation_id, NULL AS reference_evaluation_id
    FROM metrics AS m
    UNION ALL
    SELECT
        r.profile, r.variant_id, r.task, r.language, r.reference_language, r.split, 'rank_consistency', r.value,
        r.ci_low, r.ci_high, r.n_items, r.evaluation_id, r.reference_evaluation_id
    FROM rank_consistency AS r
),
conditions AS (
    SELECT e.* FROM evaluated AS e
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id IN (e.evaluation_id, e.reference_evaluation_id)
    WHERE $variant_id::VARCHAR IS NULL OR e.variant_id = $variant_id::VARCHAR
),
metric_differences AS (
    SELECT
        'metrics' AS compared,
        m.source AS base_model, v.score, v.structure, v.propagation, v.sparsity,
        v.demonstration_label, v.settings, v.settings AS paper_settings, v.label,
        c.task, c.language, c.reference_language, c.split, c.metric,
        c.value AS corrected_value, p.value AS paper_value, p.value - c.value AS difference,
        c.ci_low AS corrected_ci_low, c.ci_high AS corrected_ci_high,
        p.ci_low AS paper_ci_low, p.ci_high AS paper_ci_high,
        c.n AS n_corrected, p.n AS n_paper,
        c.variant_id AS corrected_id, p.variant_id AS paper_id,
        c.evaluation_id AS corrected_evaluation_id, p.evaluation_id AS paper_evaluation_id, v.base_model_id
    FROM conditions AS c
    JOIN conditions AS p
        ON p.variant_id = c.variant_id AND p.task = c.task AND p.language = c.language AND p.split = c.split
        AND p.metric = c.metric AND p.reference_language IS NOT DISTINCT FROM c.reference_language
    JOIN evaluations AS x ON x.evaluation_id = c.evaluation_id
    JOIN evaluations AS y
        ON y.evaluation_id = p.evaluation_id AND y.prompts = x.prompts
        AND y.scoring_rule IS NOT DISTINCT FROM x.scoring_rule
        AND y.n_shots IS NOT DISTINCT FROM x.n_shots AND y.other_shots IS NOT DISTINCT FROM x.other_shots
        AND y.split_by IS NOT DISTINCT FROM x.split_by AND y.max_new_tokens IS NOT DISTINCT FROM x.max_new_tokens
        AND y.longer IS NOT DISTINCT FROM x.longer
        AND y.chat_template_sha256 IS NOT DISTINCT FROM x.chat_template_sha256
        AND y.metric_names IS NOT DISTINCT FROM x.metric_names
        AND y.subset_sha256 IS NOT DISTINCT FROM x.subset_sha256
    JOIN described_variants AS v ON v.variant_id = c.variant_id
    LEFT JOIN base_models AS m ON m.base_model_id = v.base_model_id
    WHERE c.profile = 'corrected' AND p.profile = 'paper'
)
SELECT * FROM masks
UNION ALL BY NAME
SELECT * FROM metric_differences
ORDER BY
    compared, base_model, base_model_id, score, demonstration_label, propagation, structure, settings, sparsity,
    corrected_id, paper_id, block NULLS FIRST, layer NULLS FIRST, task, split, metric, language, reference_language,
    corrected_evaluation_id, paper_evaluation_id;
