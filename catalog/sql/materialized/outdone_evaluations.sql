-- outdone_evaluations: inserts the evaluations that are not used, because a larger evaluation of the same variant
-- replaces them, or an equally large one of a later version or with more metrics. Only variants with an evaluation in {folded} (id) can have changed.
-- depends on evaluations, metrics, records
INSERT INTO internal.outdone_evaluations BY NAME
WITH touched AS (
    SELECT e.variant_id FROM evaluations AS e SEMI JOIN {folded} AS f ON f.id = e.evaluation_id
),
several AS (
    SELECT variant_id, task, language, split, scoring_rule, protocol_id
    FROM evaluations
    SEMI JOIN touched USING (variant_id)
    GROUP BY ALL
    HAVING count(*) > 1
)
SELECT e.evaluation_id
FROM evaluations AS e
LEFT JOIN records AS r ON r.kind = 'evaluations' AND r.id = e.evaluation_id
SEMI JOIN several AS s
    ON s.variant_id = e.variant_id
    AND s.task = e.task
    AND s.language = e.language
    AND s.split = e.split
    AND s.scoring_rule IS NOT DISTINCT FROM e.scoring_rule
    AND s.protocol_id = e.protocol_id
QUALIFY row_number() OVER (
    PARTITION BY e.variant_id, e.task, e.language, e.split, e.scoring_rule, e.protocol_id
    ORDER BY
        e.n_examples DESC NULLS LAST,
        r.step_version DESC NULLS LAST,
        (SELECT count(*) FROM metrics AS m WHERE m.evaluation_id = e.evaluation_id) DESC,
        e.evaluation_id
) > 1
ON CONFLICT DO NOTHING;
