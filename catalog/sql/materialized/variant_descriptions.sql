-- variant_descriptions: inserts or replaces the rows of variants whose description is new or has changed. There are far
-- fewer variants than evaluations, so all variants are described again and compared with the existing rows.
-- depends on base_models, variants, variant_demonstrations, variant_parents
-- depends on demonstration_sets, demonstration_set_parts
INSERT OR REPLACE INTO internal.variant_descriptions
WITH links AS (
    SELECT
        l.variant_id, l.role, l.demonstration_set_id, l.weight, d.label, d.settings AS set_settings, d.made_of,
        concat(
            d.template, '/', d.token_budget, CASE WHEN NOT d.paired THEN '/unpaired' END, '/draw ' || d.draw,
            '/chat ' || d.chat_template_sha256 || coalesce(' ' || d.chat_system, '')
        ) AS made,
        coalesce(d.profile, 'corrected') AS profile,
        min(l.weight) OVER of_role < max(l.weight) OVER of_role AS is_weighted
    FROM variant_demonstrations AS l
    JOIN internal.described_sets AS d ON d.demonstration_set_id = l.demonstration_set_id
    WINDOW of_role AS (PARTITION BY l.variant_id, l.role)
),
sets_read AS (
    SELECT
        variant_id,
        string_agg(
            label || CASE WHEN is_weighted THEN format(' x {:.3g}', weight) ELSE '' END,
            ' + ' ORDER BY label, demonstration_set_id
        ) FILTER (WHERE role = 'calibration') AS demonstration_label,
        string_agg(label, ' + ' ORDER BY label, demonstration_set_id) FILTER (WHERE role = 'contrast') AS contrast,
        string_agg(
            label || CASE WHEN is_weighted THEN format(' x {:.3g}', weight) ELSE '' END,
            ' + ' ORDER BY label, demonstration_set_id
        ) FILTER (WHERE role = 'reconstruction') AS fitted_on,
        string_agg(
            label || CASE WHEN is_weighted THEN format(' x {:.3g}', weight) ELSE '' END,
            ' + ' ORDER BY label, demonstration_set_id
        ) FILTER (WHERE role = 'quantisation') AS coded_on,
        string_agg(
            label || CASE WHEN is_weighted THEN format(' x {:.3g}', weight) ELSE '' END,
            ' + ' ORDER BY label, demonstration_set_id
        ) FILTER (WHERE role = 'recovery') AS recovered_on,
        string_agg(DISTINCT set_settings, ', ' ORDER BY set_settings) AS set_settings,
        string_agg(DISTINCT made, '+' ORDER BY made) AS made,
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
scored AS (
    SELECT
        v.* REPLACE (
            coalesce(v.removes, 'lowest') AS removes,
            coalesce(v.schedule, 'uniform') AS schedule,
            coalesce(v.scope::VARCHAR, 'all') AS scope,
            coalesce(v.profile, 'corrected') AS profile,
            coalesce(v.token_scope, 'all') AS token_scope
        ),
        r.demonstration_label, r.contrast, r.fitted_on, r.coded_on, r.recovered_on, r.set_settings, r.set_ids, r.sets_made_of,
        coalesce(r.made, '/') AS made,
        coalesce(r.set_profiles, v.profile, 'corrected') AS set_profiles,
        list_filter(
            [
                v.score_parameters, v.refiner_parameters, v.schedule_parameters, v.aggregation_parameters,
                v.intervention_parameters,
                CASE
                    WHEN v.reconstruction IS NOT NULL
                    THEN nullif(json_merge_patch(v.reconstruction, '{"unit": null}')::VARCHAR, '{}')::JSON
                END,
                v.recovery,
                CASE
                    WHEN v.quantisation IS NOT NULL
                    THEN nullif(json_merge_patch(v.quantisation, '{"method": null}')::VARCHAR, '{}')::JSON
                END
            ],
            lambda parameters: parameters IS NOT NULL
        ) AS parameters
    FROM variants AS v
    LEFT JOIN sets_read AS r ON r.variant_id = v.variant_id
),
own AS MATERIALIZED (
    SELECT
        *,
        nullif(concat_ws(
            ', ',
            CASE WHEN removes = 'highest' THEN 'removes the highest' END,
            'refined by ' || replace(refiner, '_', ' '),
            nullif(array_to_string(list_transform(
                json_keys(plugins),
                lambda kind: concat_ws(
                    ' ',
                    json_extract_string(plugins, '$.' || kind || '.name'), 'of',
                    json_extract_string(plugins, '$.' || kind || '.file'),
                    json_extract_string(plugins, '$.' || kind || '.distribution'),
                    json_extract_string(plugins, '$.' || kind || '.version'),
                    '#' || left(json_extract_string(plugins, '$.' || kind || '.sha256'), 6),
                    json_extract_string(plugins, '$.' || kind || '.parameters')
                )
            ), ', '), ''),
            CASE WHEN schedule <> 'uniform' THEN schedule || ' schedule' END,
            CASE
                WHEN scope <> 'all' THEN 'only ' || array_to_string(list_transform(
                    json_keys(scope),
                    lambda part: part || ' ' || regexp_replace(json_extract_string(scope, part), '["\[\]]', '', 'g')
                ), ' ')
            END,
            CASE WHEN profile <> 'corrected' THEN profile || ' profile' END,
            CASE WHEN set_profiles <> profile THEN 'sentences of profile ' || set_profiles END,
            CASE WHEN token_scope <> 'all' THEN replace(token_scope, '_', ' ') || ' tokens' END,
            CASE WHEN aggregation IS NOT NULL THEN concat_ws(' over ', aggregation, demonstration_label) END,
            CASE WHEN contrast <> 'code' THEN 'against ' || contrast END,
            CASE WHEN n_demonstrations IS NOT NULL THEN 'first ' || n_demonstrations || ' demonstrations' END,
            CASE WHEN resample_seed IS NOT NULL THEN 'resampled' END,
            CASE json_extract_string(neurons, 'action')
                WHEN 'remove' THEN 'without the neurons of ' || json_extract_string(neurons, 'of')
                WHEN 'only' THEN 'without the neurons of other languages than ' || json_extract_string(neurons, 'of')
                WHEN 'random' THEN 'without as many random neurons as of ' || json_extract_string(neurons, 'of')
            END,
            'share ' || json_extract_string(neurons, 'share'),
            'quantile ' || json_extract_string(neurons, 'quantile'),
            'reconstructed on ' || fitted_on,
            'recovered on ' || recovered_on,
            bits || ' bits' || CASE
                WHEN quantisation_group IS NULL THEN ' in rows'
                WHEN quantisation_group <> 128 THEN ' in groups of ' || quantisation_group
                ELSE ''
            END,
            CASE
                WHEN quantisation IS NOT NULL
                THEN concat_ws(' on ', json_extract_string(quantisation, 'method'), coded_on)
            END,
            set_settings,
            nullif(array_to_string(list_transform(
                parameters,
                lambda parameter: array_to_string(list_transform(
                    json_keys(parameter),
                    lambda name: replace(name, '_', ' ') || CASE
                        WHEN json_extract_string(parameter, name) = 'true' THEN ''
                        WHEN json_type(parameter, name) = 'ARRAY' AND length(json_extract_string(parameter, name)) > 80
                        THEN ' for ' || json_array_length(parameter, name)
                            || ' #' || left(sha256(json_extract_string(parameter, name)), 8)
                        ELSE ' ' || json_extract_string(parameter, name)
                    END
                ), ', ')
            ), ', '), '')
        ), '') AS own_settings,
        [
            removes, schedule, scope, profile, set_profiles, token_scope, aggregation, nullif(contrast, 'code'),
            n_demonstrations::VARCHAR, (resample_seed IS NOT NULL)::VARCHAR, made, score_parameters::VARCHAR, schedule_parameters::VARCHAR,
            aggregation_parameters::VARCHAR, intervention_parameters::VARCHAR
        ] || CASE WHEN refiner IS NULL THEN [] ELSE [refiner, refiner_parameters::VARCHAR] END
            || CASE WHEN neurons IS NULL THEN [] ELSE ['neurons', neurons::VARCHAR] END
            || CASE WHEN reconstruction IS NULL THEN [] ELSE ['reconstruct', reconstruction::VARCHAR, fitted_on] END
            || CASE WHEN recovery IS NULL THEN [] ELSE ['recover', recovery::VARCHAR, recovered_on] END
            || CASE WHEN bits IS NULL THEN [] ELSE ['bits', bits::VARCHAR, quantisation_group::VARCHAR] END
            || CASE WHEN quantisation IS NULL THEN [] ELSE ['quantise', quantisation::VARCHAR, coded_on] END
            || CASE WHEN plugins IS NULL THEN [] ELSE [plugins::VARCHAR] END AS own_key
    FROM scored
),
parents AS (
    SELECT
        p.variant_id,
        string_agg(
            concat_ws(
                ' ',
                concat_ws(' on ', coalesce(o.score, replace(o.combination, '_', ' ')), o.demonstration_label),
                '(' || o.own_settings || ')'
            ),
            ' and ' ORDER BY length(p.role), p.role
        ) AS parents,
        list(
            [o.score, o.combination, o.demonstration_label, to_json(o.own_key)::VARCHAR] ORDER BY length(p.role), p.role
        ) AS parent_keys
    FROM variant_parents AS p
    JOIN own AS o ON o.variant_id = p.parent_variant_id
    WHERE p.role NOT IN ('unquantised', 'unreconstructed', 'unrecovered', 'all_tokens')
    GROUP BY p.variant_id
),
described AS (
    SELECT
        v.*,
        d.kind AS set_kind,
        d.source_language,
        d.target_language,
        d.shots,
        CASE WHEN d.token_budget IS NULL THEN d.samples END AS samples,
        v.sparsity = 0 AND v.intervention IS NULL AND v.combination IS NULL AND v.neurons IS NULL
            AND NOT coalesce(v.weights_changed, false) AS is_dense,
        coalesce(v.seed, d.seed) AS any_seed,
        nullif(
            concat_ws(
                ', ',
                replace(v.intervention, '_', '-'),
                replace(v.combination, '_', ' ') || coalesce(' of ' || p.parents, ''),
                v.own_settings
            ),
            ''
        ) AS settings,
        left(sha256(to_json([
            to_json(v.own_key)::VARCHAR, v.intervention, v.combination, to_json(p.parent_keys)::VARCHAR
        ])), 20) AS settings_id
    FROM own AS v
    LEFT JOIN demonstration_sets AS d ON d.demonstration_set_id = v.demonstration_set_id
    LEFT JOIN parents AS p ON p.variant_id = v.variant_id
),
worded AS MATERIALIZED (
    SELECT
        v.*,
        CASE WHEN (SELECT count(*) FROM base_models) > 1 THEN b.name END AS model,
        nullif(
            concat_ws(
                ' ',
                replace(v.score, '_', ' '),
                v.demonstration_label,
                CASE WHEN v.is_dense THEN 'dense' END,
                nullif(v.propagation, 'dense'),
                nullif(v.structure, 'row')
            ),
            ''
        ) AS name,
        CASE WHEN v.sparsity > 0 THEN format('{:.3g}', v.sparsity) END AS shown_sparsity,
        left(sha256(to_json([
            v.base_model_id, v.is_dense::VARCHAR, v.score, v.structure, v.propagation, v.set_kind, v.source_language,
            v.target_language, v.demonstration_label, v.settings_id
        ])), 20) AS method_id
    FROM described AS v
    LEFT JOIN internal.described_models AS b ON b.base_model_id = v.base_model_id
),
texts AS (
    SELECT
        *,
        concat_ws(', ', model, name, settings) AS method_text,
        concat_ws(
            ', ',
            model,
            CASE WHEN name IS NOT NULL THEN concat_ws(' ', name, shown_sparsity) END,
            CASE WHEN name IS NULL THEN concat_ws(' ', settings, shown_sparsity) ELSE settings END,
            'seed ' || nullif(any_seed, 0),
            'resample seed ' || resample_seed
        ) AS label_text
    FROM worded
)
SELECT
    variant_id,
    base_model_id,
    label_text || CASE
        WHEN count(*) OVER (PARTITION BY label_text) > 1 THEN ' #' || left(variant_id, 8)
        ELSE ''
    END AS label,
    method_text || CASE
        WHEN min(method_id) OVER (PARTITION BY method_text) < max(method_id) OVER (PARTITION BY method_text)
        THEN ' #' || left(method_id, 8)
        ELSE ''
    END AS method,
    method_id,
    score, score_parameters, structure, propagation, sparsity, achieved_sparsity, demonstration_set_id,
    contrast_set_id, set_kind, source_language, target_language, shots, samples, any_seed AS seed, intervention,
    intervention_parameters, is_dense, weights_changed, removes, schedule, schedule_parameters, scope, profile,
    token_scope, aggregation, aggregation_parameters, n_demonstrations, resample_seed, combination,
    demonstration_label, settings, settings_id, set_ids, sets_made_of, bits, quantisation_group
FROM texts
EXCEPT
SELECT * FROM internal.variant_descriptions;
