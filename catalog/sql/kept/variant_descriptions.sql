-- variant_descriptions: writes the rows of variants whose description is new or has changed.
-- What is read is small beside what hangs on it, so all variants are described again and compared with what is there.
INSERT OR REPLACE INTO variant_descriptions
WITH links AS (
    SELECT
        l.variant_id, l.role, l.demonstration_set_id, l.weight, d.label, d.unusual, d.made_of,
        coalesce(d.profile, 'corrected') AS profile,
        min(l.weight) OVER of_role < max(l.weight) OVER of_role AS is_weighted
    FROM variant_demonstrations AS l
    JOIN described_sets AS d ON d.demonstration_set_id = l.demonstration_set_id
    WINDOW of_role AS (PARTITION BY l.variant_id, l.role)
),
sets_read AS (
    SELECT
        variant_id,
        string_agg(
            label || CASE WHEN is_weighted THEN format(' x {:.3g}', weight) ELSE '' END,
            ' + ' ORDER BY label, demonstration_set_id
        ) FILTER (WHERE role = 'demonstrations') AS demonstrations,
        string_agg(label, ' + ' ORDER BY label, demonstration_set_id) FILTER (WHERE role = 'contrast') AS contrast,
        string_agg(DISTINCT unusual, ', ' ORDER BY unusual) AS unusual,
        string_agg(DISTINCT profile, ' and ' ORDER BY profile) AS set_profiles,
        string_agg(
            concat_ws(' ', role, demonstration_set_id, round(weight, 9)), ' + ' ORDER BY role, demonstration_set_id
        ) AS set_ids,
        string_agg(
            concat_ws(' ', role, made_of, round(weight, 9)), ' + ' ORDER BY role, made_of, weight
        ) AS sets_made_of
    FROM links
    GROUP BY variant_id
),
own AS (
    SELECT
        v.*, r.demonstrations, r.contrast, r.set_ids, r.sets_made_of,
        nullif(concat_ws(
            ', ',
            CASE WHEN v.removes = 'highest' THEN 'removes the highest' END,
            CASE WHEN v.schedule <> 'uniform' THEN v.schedule || ' schedule' END,
            CASE WHEN v.scope <> 'all' THEN 'only ' || v.scope END,
            CASE WHEN v.profile <> 'corrected' THEN v.profile || ' profile' END,
            CASE
                WHEN r.set_profiles <> coalesce(v.profile, 'corrected')
                THEN 'sentences of profile ' || r.set_profiles
            END,
            CASE WHEN v.token_scope <> 'all' THEN replace(v.token_scope, '_', ' ') || ' tokens' END,
            CASE WHEN v.aggregation IS NOT NULL THEN concat_ws(' over ', v.aggregation, r.demonstrations) END,
            CASE WHEN r.contrast <> 'code' THEN 'against ' || r.contrast END,
            CASE WHEN v.n_demonstrations IS NOT NULL THEN 'first ' || v.n_demonstrations || ' demonstrations' END,
            CASE WHEN v.resample_seed IS NOT NULL THEN 'resampled' END,
            r.unusual,
            v.details
        ), '') AS own_settings
    FROM variants AS v
    LEFT JOIN sets_read AS r ON r.variant_id = v.variant_id
),
parents AS (
    SELECT
        p.variant_id,
        string_agg(
            concat_ws(
                ' ',
                concat_ws(' on ', coalesce(o.score, replace(o.combination, '_', ' ')), o.demonstrations),
                '(' || o.own_settings || ')'
            ),
            ' and ' ORDER BY length(p.role), p.role
        ) AS parents
    FROM variant_parents AS p
    JOIN own AS o ON o.variant_id = p.parent_variant_id
    GROUP BY p.variant_id
),
described AS (
    SELECT
        v.variant_id,
        v.base_model_id,
        n.variant_name,
        v.score,
        v.structure,
        v.propagation,
        v.sparsity,
        v.achieved_sparsity,
        v.demonstration_set_id,
        v.contrast_set_id,
        d.kind AS set_kind,
        d.source_language,
        d.target_language,
        d.shots,
        d.samples,
        coalesce(v.seed, d.seed) AS seed,
        v.intervention,
        v.sparsity = 0 AND v.intervention IS NULL AND v.combination IS NULL
            AND NOT coalesce(v.weights_changed, false) AS is_dense,
        v.weights_changed,
        coalesce(v.removes, 'lowest') AS removes,
        coalesce(v.schedule, 'uniform') AS schedule,
        coalesce(v.scope, 'all') AS scope,
        coalesce(v.profile, 'corrected') AS profile,
        coalesce(v.token_scope, 'all') AS token_scope,
        v.aggregation,
        v.n_demonstrations,
        v.resample_seed,
        v.combination,
        v.details,
        v.demonstrations,
        nullif(
            concat_ws(
                ', ',
                replace(v.intervention, '_', '-'),
                replace(v.combination, '_', ' ') || coalesce(' of ' || p.parents, ''),
                v.own_settings
            ),
            ''
        ) AS settings,
        v.set_ids,
        v.sets_made_of
    FROM own AS v
    LEFT JOIN demonstration_sets AS d ON d.demonstration_set_id = v.demonstration_set_id
    LEFT JOIN parents AS p ON p.variant_id = v.variant_id
    LEFT JOIN (
        SELECT id AS variant_id, min(name) AS variant_name FROM names WHERE kind = 'variant' GROUP BY id
    ) AS n ON n.variant_id = v.variant_id
)
SELECT
    variant_id,
    base_model_id,
    variant_name,
    left(sha256(concat_ws(
        '|', base_model_id, is_dense, coalesce(score, '-'), coalesce(structure, '-'), coalesce(propagation, '-'),
        coalesce(set_kind, '-'), coalesce(source_language, '-'), coalesce(target_language, '-'),
        coalesce(intervention, '-'), coalesce(demonstrations, '-'), coalesce(settings, '-')
    )), 20) AS method,
    score, structure, propagation, sparsity, achieved_sparsity, demonstration_set_id, contrast_set_id, set_kind,
    source_language, target_language, shots, samples, seed, intervention, is_dense, weights_changed, removes,
    schedule, scope, profile, token_scope, aggregation, n_demonstrations, resample_seed, combination, details,
    demonstrations, settings, set_ids, sets_made_of
FROM described
EXCEPT
SELECT * FROM variant_descriptions;
