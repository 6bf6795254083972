-- first_answers: one row per question with its verdict; page one shows the declared questions, or the exploratory ones of
-- a store without any. verdict is yes if at least one test supports the claim (n_supported of n_tests), no if all tests show
-- the opposite, cannot be asked if there is no test or none can be asked (reason says why), else not shown. The estimate is that of the test
-- with the largest gain; of a supported claim about a margin, that of the supported test with the smallest gain. The
-- sparsities are those of the supported tests.
WITH asked AS (
    SELECT v.question_id, min(d.base_model_id) AS base_model_id
    FROM question_variants AS v
    JOIN described_variants AS d ON d.variant_id = v.variant_id
    GROUP BY v.question_id
),
tests AS (
    SELECT
        q.*, a.question_id IS NOT NULL AS is_tested, a.is_supported, a.verdict AS verdict_of_test, a.verdict_reason, a.n_variants, a.n_items, a.difference, a.scale,
        a.ci_low, a.ci_high, a.ci90_low, a.ci90_high, a.p_corrected,
        a.variant_id, v.label, v.sparsity,
        CASE WHEN q.metric IN (SELECT metric FROM metrics WHERE higher_is_better) THEN 1 ELSE -1 END AS direction,
        coalesce(v.base_model_id, b.base_model_id, s.base_model_id) AS base_model_id,
        count(a.question_id) OVER (PARTITION BY q.question_id) AS n_answers
    FROM questions AS q
    LEFT JOIN answers AS a ON a.question_id = q.question_id
    LEFT JOIN described_variants AS v ON v.variant_id = a.variant_id
    LEFT JOIN described_variants AS b ON b.variant_id = a.baseline_id
    LEFT JOIN asked AS s ON s.question_id = q.question_id
),
latest AS (
    SELECT *
    FROM tests
    QUALIFY dense_rank() OVER (
        PARTITION BY
            base_model_id, criterion_id, is_declared,
            CASE WHEN is_declared THEN concat_ws('/', recipe, name, variants, against) END
        ORDER BY n_answers DESC, n_variants DESC, question_id
    ) = 1
),
judged AS (
    SELECT
        *,
        CASE claim
            WHEN 'gain' THEN p_corrected < 0.05 AND direction * difference < 0
            WHEN 'noninferior' THEN
                CASE direction WHEN 1 THEN ci90_high < -margin ELSE ci90_low > margin END
            ELSE ci90_high < -margin OR ci90_low > margin
        END AS is_refuted,
        row_number() OVER (
            PARTITION BY question_id
            ORDER BY
                is_supported DESC NULLS LAST,
                CASE
                    WHEN claim <> 'gain' AND is_supported THEN direction * difference
                    ELSE -direction * difference
                END NULLS LAST,
                sparsity, variant_id
        ) AS place
    FROM latest
),
counted AS (
    SELECT
        question_id,
        count(*) FILTER (is_tested) AS n_tests,
        count(*) FILTER (verdict_of_test = 'cannot be asked') AS n_not_askable,
        min(verdict_reason) AS reason,
        count(*) FILTER (is_supported) AS n_supported,
        count(*) FILTER (is_refuted) AS n_refuted,
        min(sparsity) FILTER (is_supported) AS lowest_sparsity,
        max(sparsity) FILTER (is_supported) AS highest_sparsity
    FROM judged
    GROUP BY question_id
)
SELECT
    m.source AS base_model, j.base_model_id, j.question_id, j.recipe, j.name, j.is_declared, j.is_primary,
    j.claim, j.over, j.variants, j.against, j.group_kind, j.group_name, j.task, j.split, j.metric, j.margin,
    CASE
        WHEN c.n_tests = c.n_not_askable THEN 'cannot be asked'
        WHEN c.n_supported > 0 THEN 'yes'
        WHEN c.n_refuted = c.n_tests THEN 'no'
        ELSE 'not shown'
    END AS verdict,
    CASE
        WHEN c.n_tests = 0 THEN 'No test of it is in the store.'
        WHEN c.n_tests = c.n_not_askable THEN c.reason
    END AS reason,
    c.n_tests, c.n_supported, c.n_refuted, c.lowest_sparsity, c.highest_sparsity,
    j.label, j.n_variants, j.n_items, j.difference, j.scale, j.ci_low, j.ci_high, j.p_corrected
FROM judged AS j
JOIN counted AS c ON c.question_id = j.question_id
LEFT JOIN base_models AS m ON m.base_model_id = j.base_model_id
WHERE j.place = 1
ORDER BY
    base_model, j.base_model_id, j.is_primary DESC, j.is_declared DESC, j.task, j.recipe, j.claim <> 'gain', j.claim DESC,
    j.name, j.group_kind DESC, j.group_name, j.question_id;
