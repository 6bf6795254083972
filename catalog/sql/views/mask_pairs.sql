-- mask_pairs: one row per pair of variants whose masks were compared: the attributes in which they differ. The variants
-- of a pair have the same base model, score, structure, propagation and sparsity. differs_in lists the differences,
-- separated by blanks, in this order: removes, schedule, scope, profile, token_scope, aggregation, n_demonstrations,
-- resample_seed, combination, parameters, seed, sets. For variants of different profiles, sets counts as a difference
-- only if the sets differ in more than profile and seed.
CREATE OR REPLACE VIEW internal.mask_pairs AS
WITH pairs AS (SELECT DISTINCT variant_a, variant_b FROM mask_overlaps)
SELECT
    p.variant_a,
    p.variant_b,
    a.base_model_id,
    a.score,
    a.structure,
    a.propagation,
    a.sparsity,
    a.demonstration_set_id AS set_a,
    b.demonstration_set_id AS set_b,
    CASE
        WHEN a.set_kind IS NOT DISTINCT FROM b.set_kind THEN a.set_kind
        ELSE concat_ws(' | ', least(a.set_kind, b.set_kind), greatest(a.set_kind, b.set_kind))
    END AS set_kinds,
    least(a.demonstration_label, b.demonstration_label) AS first_demonstration_label,
    greatest(a.demonstration_label, b.demonstration_label) AS second_demonstration_label,
    concat_ws(
        ' ',
        CASE WHEN a.removes <> b.removes THEN 'removes' END,
        CASE WHEN a.schedule <> b.schedule THEN 'schedule' END,
        CASE WHEN a.scope <> b.scope THEN 'scope' END,
        CASE WHEN a.profile <> b.profile THEN 'profile' END,
        CASE WHEN a.token_scope <> b.token_scope THEN 'token_scope' END,
        CASE WHEN a.aggregation IS DISTINCT FROM b.aggregation THEN 'aggregation' END,
        CASE WHEN a.n_demonstrations IS DISTINCT FROM b.n_demonstrations THEN 'n_demonstrations' END,
        CASE WHEN a.resample_seed IS DISTINCT FROM b.resample_seed THEN 'resample_seed' END,
        CASE WHEN a.combination IS NOT NULL OR b.combination IS NOT NULL THEN 'combination' END,
        CASE
            WHEN row(a.score_parameters, a.schedule_parameters, a.aggregation_parameters)
                IS DISTINCT FROM row(b.score_parameters, b.schedule_parameters, b.aggregation_parameters)
            THEN 'parameters'
        END,
        CASE WHEN x.seed IS DISTINCT FROM y.seed THEN 'seed' END,
        CASE
            WHEN a.profile = b.profile AND a.set_ids IS DISTINCT FROM b.set_ids THEN 'sets'
            WHEN a.profile <> b.profile AND a.sets_made_of IS DISTINCT FROM b.sets_made_of THEN 'sets'
        END
    ) AS differs_in,
    CASE
        WHEN a.settings IS NOT DISTINCT FROM b.settings THEN a.settings
        ELSE least(coalesce(a.settings, 'defaults'), coalesce(b.settings, 'defaults')) || ' | '
            || greatest(coalesce(a.settings, 'defaults'), coalesce(b.settings, 'defaults'))
    END AS settings
FROM pairs AS p
JOIN described_variants AS a ON a.variant_id = p.variant_a
JOIN described_variants AS b ON b.variant_id = p.variant_b
JOIN variants AS x ON x.variant_id = p.variant_a
JOIN variants AS y ON y.variant_id = p.variant_b;
-- set_a: demonstration set of variant_a, if it read one
-- set_b: demonstration set of variant_b, if it read one
-- set_kinds: kind of the sets, or the two kinds
-- first_demonstration_label: label of the sets that one variant read, the first of both in alphabetical order
-- second_demonstration_label: label of the sets that the other variant read
-- differs_in: attributes in which the two differ, separated by blanks
