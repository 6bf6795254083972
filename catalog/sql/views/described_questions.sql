-- described_questions: one row per question that no later version replaces (outdone_questions), with whether it is
-- primary and why not
CREATE OR REPLACE VIEW internal.described_questions AS
WITH titles AS (
    SELECT c.question_id, arg_max(c.title, (coalesce(r.started_at, TIMESTAMP '1970-01-01'), c.title)) AS given_title
    FROM question_records AS c
    LEFT JOIN runs AS r ON r.recipe_id = c.record_id
    WHERE c.title IS NOT NULL
    GROUP BY c.question_id
),
entries AS (
    SELECT
        e.name,
        coalesce(l.language_name, replace(regexp_replace(
            replace(replace(e.name, '-', ' '), '_', ' '), '\b([a-z][a-z]) en\b', '\1-en', 'g'
        ), 'on-en', 'on en')) AS words
    FROM (SELECT variants AS name FROM questions UNION SELECT against FROM questions) AS e
    LEFT JOIN language_resources AS l ON lower(l.language_name) = lower(e.name)
),
told_apart AS (  -- two pairs of entries with the same words are written as their names
    SELECT p.*
    FROM internal.question_phrases AS p
    JOIN questions AS q ON q.question_id = p.question_id
    WINDOW same_words AS (PARTITION BY q.recipe, p.variant_words, p.against_words, p.shared_words)
    QUALIFY min((q.variants, q.against)) OVER same_words = max((q.variants, q.against)) OVER same_words
),
worded AS (
    SELECT
        q.*, t.given_title,
        CASE WHEN q.group_kind = 'language' THEN q.group_name ELSE concat_ws(':', q.group_kind, nullif(q.group_name, '')) END
            AS languages,
        CASE WHEN q.metric = q.task THEN q.metric WHEN q.metric = 'chrf' THEN 'chrF' ELSE q.metric END
            || CASE WHEN q.metric = q.task THEN '' ELSE ' on ' || replace(q.task, '_', ' ') END AS measure,
        CASE q.group_kind
            WHEN 'outside_english' THEN 'outside English'
            WHEN 'all' THEN 'in all languages on average'
            WHEN 'worst' THEN 'in the worst language'
            WHEN 'script' THEN 'in languages written in ' || q.group_name
            WHEN 'resource_class' THEN 'in languages of resource class ' || q.group_name
            ELSE CASE WHEN q.group_name LIKE '%-en' OR q.group_name LIKE 'en-%' THEN 'of ' ELSE 'in ' END
                || coalesce(l.language_name, q.group_name)
        END AS place_words,
        q.over = 'each' AND q.claim = 'gain' AS is_about_one,
        CASE
            WHEN q.variants = '' THEN CASE q.over WHEN 'mean' THEN 'pruning' ELSE 'a pruned variant' END
            WHEN p.question_id IS NOT NULL
                THEN CASE WHEN is_about_one THEN 'a variant pruned with ' ELSE '' END || p.variant_words
            ELSE CASE WHEN is_about_one THEN 'a variant of ' ELSE '' END || v.words
        END AS variant_words,
        coalesce(p.against_words, b.words) AS against_words,
        CASE q.against WHEN 'dense' THEN 'without pruning' ELSE 'with ' || coalesce(p.against_words, b.words) END AS than_words,
        coalesce(', ' || nullif(p.shared_words, ''), '') || '?' AS ending,
        CASE WHEN coalesce(m.higher_is_better, q.metric <> 'perplexity') THEN 'higher' ELSE 'lower' END AS better,
        CASE better WHEN 'higher' THEN 'lower' ELSE 'higher' END AS worse,
        CASE q.metric
            WHEN 'perplexity' THEN regexp_replace(printf('%.1f', 100 * (exp(q.margin) - 1)), '\.0$', '') || ' %'
            WHEN 'divergence' THEN printf('%.3g nats', q.margin)
            WHEN 'divergence_per_character' THEN printf('%.3g nats', q.margin)
            WHEN 'log_prob_change' THEN printf('%.3g nats', q.margin)
            ELSE regexp_replace(printf('%.1f', 100 * q.margin), '\.0$', '') || ' points'
        END AS margin_words
    FROM questions AS q
    ANTI JOIN internal.outdone_questions AS u ON u.question_id = q.question_id
    LEFT JOIN entries AS v ON v.name = q.variants
    LEFT JOIN entries AS b ON b.name = q.against
    LEFT JOIN told_apart AS p ON p.question_id = q.question_id
    LEFT JOIN titles AS t ON t.question_id = q.question_id
    LEFT JOIN language_resources AS l ON l.language = q.group_name
    LEFT JOIN (SELECT metric, bool_and(higher_is_better) AS higher_is_better FROM metrics GROUP BY metric) AS m
        ON m.metric = q.metric
)
SELECT
    * EXCLUDE (given_title, measure, than_words, better, worse, margin_words, is_about_one, ending),
    better = 'higher' AS higher_is_better,
    CASE
        WHEN is_primary THEN 'primary'
        WHEN NOT is_declared THEN 'exploratory: not declared'
        WHEN declared_after > 0 THEN 'exploratory: ' || declared_after || ' results existed before it was declared'
            || coalesce(', such as evaluation ' || earlier_evaluation_id, '')
        WHEN n_seeds_declared IS NOT NULL THEN 'exploratory: declared for ' || n_seeds_declared || ' seeds'
        WHEN awaits_masks THEN 'exploratory: its masks were not compared with those of variants that had results'
        ELSE 'exploratory: declared as such'
    END AS status,
    coalesce(given_title, {claim_titles}) AS title
FROM worded;
-- languages: the group of languages as a recipe names it
-- status: primary, or exploratory and why
-- higher_is_better: whether higher values of its metric are better
-- place_words: the languages as text
-- variant_words: the variants as text
-- against_words: the baselines as text
-- title: the question in plain words: the title that the newest recipe gives to it, else one made of what variants and baselines
-- differ in, or of the names of their entries in the recipe
