-- described_sets: one row per demonstration set with its label, and with a text for the settings that are not defaults
-- (settings). Sets with equal made_of differ in nothing but profile and seed, as far as the catalog's columns show (the
-- profile paper takes the sentences in order and has no seed).
CREATE OR REPLACE VIEW internal.described_sets AS
WITH named AS (
    SELECT
        *,
        CASE kind
            WHEN 'translation' THEN source_language || '-' || target_language
            WHEN 'monolingual' THEN source_language
            ELSE concat_ws(' ', kind, task, nullif(concat_ws('-', source_language, target_language), ''))
        END AS short_name,
        nullif(
            concat_ws(', ', CASE WHEN NOT paired THEN 'unpaired' END, CASE draw WHEN 'published' THEN 'drawn as published' END),
            ''
        ) AS pairing,
        nullif(
            concat_ws(' with system text ', 'chat (' || chat_template_sha256[:8] || ')', chat_system), ''
        ) AS turns
    FROM demonstration_sets
),
parts AS (
    SELECT
        p.demonstration_set_id,
        string_agg(
            concat_ws(' ', coalesce(n.short_name, n.kind), n.pairing, left(n.turns, 4)), ' + ' ORDER BY n.short_name, p.part_id
        ) AS labels,
        string_agg(
            concat_ws(
                ' ', n.kind, n.short_name, n.pairing, 'shots', n.shots,
                CASE WHEN n.token_budget IS NULL THEN 'samples ' || n.samples END, 'template', n.template,
                'budget', n.token_budget, n.turns, 'share', round(p.share, 9)
            ),
            ' + ' ORDER BY n.short_name, p.part_id
        ) AS made_of
    FROM demonstration_set_parts AS p
    JOIN named AS n ON n.demonstration_set_id = p.part_id
    GROUP BY p.demonstration_set_id
)
SELECT
    n.* EXCLUDE (short_name, pairing, turns),
    concat_ws(' ', coalesce(n.short_name, n.kind), p.labels) AS label,
    nullif(
        concat_ws(', ', n.pairing, 'template ' || n.template, 'budget of ' || n.token_budget || ' tokens', n.turns), ''
    ) AS settings,
    concat_ws(
        ' ', n.kind, n.short_name, n.pairing, 'shots', n.shots,
        CASE WHEN n.token_budget IS NULL THEN 'samples ' || n.samples END, 'max_tokens', n.max_tokens,
        'template', n.template, 'budget', n.token_budget, n.turns, 'parts', p.made_of
    ) AS made_of
FROM named AS n
LEFT JOIN parts AS p ON p.demonstration_set_id = n.demonstration_set_id;
-- label: short text for the set, for instance fr-en
-- settings: text for the settings that are not defaults; NULL if all are
-- made_of: equal for sets that differ in nothing but profile and seed, and with a token budget the number of samples
