-- protocol: what was tested, for the appendix of a paper. One row per statement about the tests of the store: what was
-- evaluated, the questions with their status, the exploratory families, choices on dev, seeds, and what the store cannot
-- know. p_level is what the smallest p-value of a family is compared with, smallest_p the smallest one that its test with
-- most clusters can reach: with smallest_p >= p_level nothing can be rejected. Of several families, the one with most tests
-- is shown.
-- topic: answers
WITH single_tests AS (
    SELECT
        'single languages' AS tested, concat_ws(' ', task, split, metric) AS measure, test_family AS family, is_primary, n_family,
        p_value, p_corrected, test, n AS n_items, n_clusters
    FROM internal.comparisons
    UNION ALL BY NAME
    SELECT
        'groups of languages' AS tested, concat_ws(' ', task, split, metric) AS measure, test_family AS family, is_primary, n_family,
        p_value, p_corrected, test, n_items, n_clusters
    FROM internal.aggregates
    UNION ALL BY NAME
    SELECT
        'answers' AS tested, '' AS measure, question_id AS family, true AS is_primary, n_family, p_value, p_corrected,
        test, n_items, n_clusters
    FROM internal.verdicts
),
reached AS (
    SELECT
        *,
        CASE test
            WHEN 'tango' THEN exp(-least(n_items, 1400) / 2.0)
            WHEN 'randomization' THEN greatest(1.5 * pow(2.0, -least(n_clusters, 1000)), 1.0 / 999901)
            WHEN 'minima' THEN greatest(3.0 / 0.9 * pow(2.0, -least(n_clusters, 1000)), 2.0 / 9000)
            WHEN 'sign_flip' THEN 1.5 * pow(2.0, -least(n_clusters, 1000))
        END AS smallest_p
    FROM single_tests
    WHERE family IS NOT NULL AND p_value IS NOT NULL
),
families AS (
    SELECT
        tested, measure, family, is_primary, max(n_family) AS n_family, min(smallest_p) AS smallest_p,
        count(*) FILTER (p_corrected < 0.05) AS n_rejected
    FROM reached
    GROUP BY tested, measure, family, is_primary
),
languages_after_means AS (
    SELECT question_id, count(DISTINCT language) AS n_languages
    FROM internal.question_tests
    WHERE language <> ''
    GROUP BY question_id
),
asked AS (
    SELECT
        a.question_id, max(a.n_tests) AS n_tests, max(a.n_questions) AS n_questions,
        max(a.n_family) FILTER (a.n_questions IS NOT NULL) AS n_family,
        count(*) FILTER (a.is_supported) AS n_supported, max(a.n_seeds) AS n_seeds
    FROM internal.verdicts AS a
    GROUP BY a.question_id
),
evaluated AS (
    SELECT
        m.task, m.split, m.scoring_rule, p.protocol,
        string_agg(DISTINCT m.language, ' ' ORDER BY m.language) AS languages,
        string_agg(DISTINCT m.metric, ', ' ORDER BY m.metric) AS metrics,
        count(DISTINCT m.variant_id) AS n_variants,
        min(m.n) AS least_n, max(m.n) AS most_n, min(m.n_clusters) AS least_clusters, max(m.n_clusters) AS most_clusters
    FROM metrics AS m
    ANTI JOIN internal.outdone_evaluations AS o ON o.evaluation_id = m.evaluation_id
    LEFT JOIN internal.protocols AS p ON p.protocol_id = m.protocol_id AND p.task = m.task
    GROUP BY m.task, m.split, m.scoring_rule, p.protocol
),
statements AS (
    SELECT
        1 AS place, 'evaluation' AS part, concat_ws(' ', task, split) AS subject,
        concat_ws(
            '; ', n_variants || ' variants', languages,
            concat_ws(' to ', least_n, nullif(most_n, least_n)) || ' items in '
                || concat_ws(' to ', least_clusters, nullif(most_clusters, least_clusters)) || ' clusters',
            metrics, 'rule ' || scoring_rule, protocol
        ) AS detail
    FROM evaluated
    UNION ALL BY NAME
    SELECT
        2 AS place, 'question' AS part, q.title AS subject, q.status,
        s.n_family, 0.05 / s.n_family AS p_level,
        CASE WHEN q.is_primary AND q.claim = 'gain' THEN f.smallest_p END AS smallest_p,
        s.n_supported AS n_rejected,
        concat_ws(
            '; ', concat_ws(' ', q.claim, 'within ' || q.margin), concat_ws(' ', q.task, q.split, q.metric, q.languages),
            concat_ws(' ', nullif(q.variants, ''), 'against', nullif(q.against, '')),
            CASE WHEN q.over = 'mean' THEN 'one test of the mean over variants' END,
            'tests times primary questions: ' || s.n_tests || ' x ' || s.n_questions,
            'then ' || l.n_languages || ' languages, if the mean is rejected',
            CASE WHEN s.n_seeds = 1 THEN 'one seed' WHEN s.n_seeds > 1 THEN s.n_seeds || ' seeds' END,
            'verdict: ' || coalesce(t.answer, 'not answered yet')
        ) AS detail
    FROM internal.described_questions AS q
    LEFT JOIN asked AS s ON s.question_id = q.question_id
    LEFT JOIN internal.question_answers AS t ON t.question_id = q.question_id
    LEFT JOIN families AS f ON f.family = q.question_id AND f.tested = 'answers'
    LEFT JOIN languages_after_means AS l ON l.question_id = q.question_id
    WHERE q.is_declared
    UNION ALL BY NAME
    SELECT
        3 AS place, 'family' AS part, measure AS subject, 'exploratory' AS status, max(n_family) AS n_family,
        0.05 / max(n_family) AS p_level, arg_max(smallest_p, n_family) AS smallest_p, sum(n_rejected)::BIGINT AS n_rejected,
        concat_ws(
            '; ', tested,
            CASE
                WHEN count(*) > 1 THEN count(*) || ' families of ' || min(n_family) || ' to ' || max(n_family)
                    || ' tests, each corrected by Holm'
                ELSE 'corrected by Holm'
            END,
            nullif(count(*) FILTER (smallest_p >= 0.05 / n_family), 0) || ' of them can reject nothing'
        ) AS detail
    FROM families
    WHERE NOT is_primary
    GROUP BY measure, tested
    UNION ALL BY NAME
    SELECT
        4 AS place, 'choice' AS part, concat_ws(' ', task, metric) AS subject,
        concat_ws(
            '; ', 'the best of ' || max(n_candidates) || ' candidates on dev, dense among them, in '
                || string_agg(
                    DISTINCT coalesce(nullif(group_name, ''), group_kind), ', '
                    ORDER BY coalesce(nullif(group_name, ''), group_kind)
                ),
            max(n_shared_items) || ' items of test occur in dev',
            TRY_CAST(round(100 * max(shared_clusters)) AS INTEGER) || ' % of the clusters of test occur in dev'
        ) AS detail
    FROM choices
    GROUP BY task, metric
    UNION ALL BY NAME
    SELECT
        5 AS place, 'seeds' AS part, count(*) || ' variants' AS subject,
        CASE n_draws
            WHEN 0 THEN 'nothing is drawn'
            WHEN 1 THEN 'one draw of demonstrations or of the random score: results hold for this draw'
            ELSE n_draws || ' draws, compared by seed_variance'
        END AS detail
    FROM internal.variant_draws
    GROUP BY n_draws
    UNION ALL BY NAME
    SELECT 6 AS place, 'not known' AS part, subject, detail
    FROM (VALUES
        ('other stores', 'results that were seen in another store, or deleted, before a question was declared here'),
        ('other recipes', 'primary questions share 5 % within one recipe: recipes of other names have 5 % each'),
        ('the level of single statements', 'the 95 % interval of a single row is not corrected for other rows')
    ) AS limits (subject, detail)
)
SELECT part, subject, status, n_family, p_level, smallest_p, n_rejected, detail
FROM statements
ORDER BY place, status DESC NULLS LAST, subject, detail;
