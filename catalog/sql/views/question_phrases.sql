-- question_phrases: one row per declared question whose sides are variants with plain words for what they differ in: what was
-- done to the variants and to the baselines, and what to both if it varies between the questions of the recipe
CREATE OR REPLACE VIEW internal.question_phrases AS
WITH entries AS (
    SELECT
        e.question_id, e.side, q.recipe, q.against = 'dense' AS is_against_dense, e.is_dense, e.method, e.pattern, e.place,
        CASE WHEN list_contains(e.extras, 'unpaired') THEN 'unpaired ' ELSE '' END || t.words AS text,
        'reconstruction on ' || f.words AS fit,
        CASE e.rounding WHEN 'gptq' THEN concat_ws(' on ', 'GPTQ', c.words) WHEN 'nearest' THEN 'rounding to nearest' END
            AS coded,
        e.bits,
        list_filter(e.extras, lambda extra: extra <> 'unpaired') AS extras,
        'at ' || array_to_string(list_transform(
            e.sparsities, lambda sparsity: format('{:.3g}', 100 * sparsity)
        ), ' and ') || ' %' AS share,
        e.is_uniform AND (e.texts = [] OR t.words IS NOT NULL) AND (e.fitted_on = [] OR f.words IS NOT NULL)
            AND (e.coded_on = [] OR c.words IS NOT NULL) AS is_worded
    FROM internal.question_entries AS e
    JOIN questions AS q ON q.question_id = e.question_id
    ANTI JOIN internal.outdone_questions AS u ON u.question_id = e.question_id
    LEFT JOIN internal.entry_texts AS t ON t.labels = e.texts
    LEFT JOIN internal.entry_texts AS f ON f.labels = e.fitted_on
    LEFT JOIN internal.entry_texts AS c ON c.labels = e.coded_on
),
varied AS (
    SELECT
        recipe, count(DISTINCT text) > 1 AS text, count(DISTINCT fit) > 1 AS fit, count(DISTINCT pattern) > 1 AS pattern,
        count(DISTINCT place) > 1 AS place, count(DISTINCT share) > 1 AS share, count(DISTINCT coded) > 1 AS coded,
        count(DISTINCT bits) > 1 AS bits
    FROM entries
    WHERE NOT is_dense
    GROUP BY recipe
),
sides AS (
    SELECT
        e.question_id, e.side, e.is_against_dense,
        e.method <> o.method OR e.extras <> o.extras OR (e.fit IS NULL) <> (o.fit IS NULL)
            OR (e.text IS NULL) <> (o.text IS NULL) AS other_method,
        CASE
            WHEN e.is_against_dense THEN CASE WHEN w.text AND e.text IS NOT NULL THEN e.text ELSE e.method END
            ELSE concat_ws(
                ' on ',
                CASE WHEN other_method THEN coalesce(nullif(e.method, ''), 'all weights') END,
                CASE WHEN e.text <> o.text OR (w.text AND o.text IS NULL) THEN e.text END
            )
        END AS made_with,
        CASE WHEN e.is_against_dense OR e.fit IS DISTINCT FROM o.fit THEN e.fit END AS other_fit,
        CASE
            WHEN e.is_against_dense THEN e.coded
            WHEN e.coded IS DISTINCT FROM o.coded THEN coalesce(e.coded, 'weights that are not rounded')
        END AS other_coded,
        concat_ws(
            ' ',
            CASE WHEN e.pattern <> o.pattern AND NOT e.is_against_dense THEN 'at ' || nullif(e.pattern, '') END,
            CASE WHEN e.share <> o.share AND e.pattern = '' AND e.method <> '' AND NOT e.is_against_dense THEN e.share END,
            CASE WHEN e.place <> o.place AND NOT e.is_against_dense THEN nullif(e.place, '') END,
            CASE WHEN e.bits <> coalesce(o.bits, '') AND NOT e.is_against_dense THEN 'at ' || e.bits END,
            '(' || nullif(array_to_string(list_filter(
                e.extras, lambda extra: NOT e.is_against_dense AND NOT list_contains(o.extras, extra)
            ), ', '), '') || ')'
        ) AS done,
        concat_ws(
            ' ',
            coalesce(nullif(concat_ws(' and ', nullif(made_with, ''), other_fit, other_coded), ''), 'pruning'), nullif(done, '')
        ) AS words,
        concat_ws(
            ', ',
            CASE WHEN w.text AND e.text = o.text THEN 'with ' || e.text END,
            CASE WHEN w.fit AND e.fit = o.fit THEN 'after ' || e.fit END,
            CASE WHEN w.coded AND e.coded = o.coded THEN 'after ' || e.coded END,
            CASE WHEN w.bits AND (e.is_against_dense OR e.bits = o.bits) THEN 'at ' || e.bits END,
            CASE WHEN w.pattern AND (e.is_against_dense OR e.pattern = o.pattern) THEN 'at ' || nullif(e.pattern, '') END,
            CASE WHEN w.share AND e.pattern = '' AND e.method <> '' AND (e.is_against_dense OR e.share = o.share) THEN e.share END,
            CASE WHEN w.place AND (e.is_against_dense OR e.place = o.place) THEN nullif(e.place, '') END
        ) AS shared_words
    FROM entries AS e
    JOIN entries AS o ON o.question_id = e.question_id AND o.side <> e.side
    JOIN varied AS w ON w.recipe = e.recipe
    WHERE e.is_worded AND NOT e.is_dense AND (o.is_worded OR e.is_against_dense)
)
SELECT
    v.question_id, v.words AS variant_words, CASE WHEN v.is_against_dense THEN 'dense' ELSE b.words END AS against_words,
    v.shared_words
FROM sides AS v
LEFT JOIN sides AS b ON b.question_id = v.question_id AND b.side = 'against'
WHERE v.side = 'variants' AND (v.is_against_dense OR v.words <> b.words);
-- variant_words: what was done to the variants
-- against_words: what was done to the baselines; dense for the dense model
-- shared_words: what was done to both; empty if it is the same in all questions of the recipe
