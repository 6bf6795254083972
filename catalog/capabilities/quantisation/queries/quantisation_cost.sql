-- quantisation_cost: what rounded weights cost each language. One row per quantised variant, language, scoring rule and
-- evaluation setup. The difference is the quantised variant minus the same masks with unrounded weights, on the same
-- examples; scale says if it is a logarithm of a ratio. Rank 1 has the largest loss among the languages of the variant.
-- p_corrected is corrected over the family of the comparison. quantisation_method is nearest or gptq, and
-- demonstrations the sets that gptq read. A checkpoint from elsewhere has the method adopted, the bits of most weights,
-- its format, and the types of its embedding and head, which are part of the cost; NULL if these have no codes.
-- topic: methods
-- $task VARCHAR = 'facts'
-- $metric VARCHAR = 'accuracy'
-- $split VARCHAR = 'test'
-- $bits INTEGER = NULL
-- $variant_id VARCHAR = NULL
WITH sets_read AS (
    SELECT l.variant_id, string_agg(d.label, ' + ' ORDER BY d.label, l.demonstration_set_id) AS demonstrations
    FROM variant_demonstrations AS l
    JOIN internal.described_sets AS d ON d.demonstration_set_id = l.demonstration_set_id
    WHERE l.role = 'quantisation'
    GROUP BY l.variant_id
),
costs AS (
    SELECT
        c.*, n.value AS unquantised_value, m.value, v.label, coalesce(v.bits, k.bits) AS bits, v.quantisation_group, v.sparsity, v.base_model_id,
        p.parent_variant_id, q.protocol, r.demonstrations,
        CASE
            WHEN k.variant_id IS NULL THEN coalesce(json_extract_string(w.quantisation, 'method'), 'nearest')
            ELSE 'adopted'
        END AS quantisation_method,
        k.format, k.embedding, k.head,
        rank() OVER (
            PARTITION BY c.variant_id, c.scoring_rule, c.protocol_id
            ORDER BY CASE WHEN m.higher_is_better THEN c.difference ELSE -c.difference END
        ) AS rank
    FROM internal.comparisons AS c
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = c.evaluation_id
    JOIN variant_parents AS p
        ON p.variant_id = c.variant_id AND p.parent_variant_id = c.baseline_id AND p.role = 'unquantised'
    JOIN described_variants AS v ON v.variant_id = c.variant_id
    JOIN variants AS w ON w.variant_id = c.variant_id
    LEFT JOIN sets_read AS r ON r.variant_id = c.variant_id
    LEFT JOIN quantised_checkpoints AS k ON k.variant_id = c.variant_id
    JOIN metrics AS m ON m.evaluation_id = c.evaluation_id AND m.metric = c.metric
    JOIN metrics AS n ON n.evaluation_id = c.baseline_evaluation_id AND n.metric = c.metric
    LEFT JOIN internal.protocols AS q ON q.protocol_id = c.protocol_id
    WHERE c.profile = 'corrected' AND c.task = $task AND c.metric = $metric AND c.split = $split
        AND ($bits::INTEGER IS NULL OR coalesce(v.bits, k.bits) = $bits::INTEGER)
        AND ($variant_id::VARCHAR IS NULL OR c.variant_id = $variant_id::VARCHAR)
)
SELECT
    label, bits, language, rank, difference, ci_low, ci_high, p_value, p_corrected, n_family, unquantised_value, value,
    n, n_clusters, scale, sparsity, quantisation_group, quantisation_method, demonstrations, scoring_rule, protocol,
    format, embedding, head, base_model_id, variant_id, parent_variant_id, evaluation_id, baseline_evaluation_id
FROM costs
ORDER BY base_model_id, sparsity, label, variant_id, scoring_rule, protocol NULLS FIRST, rank, language, evaluation_id;
