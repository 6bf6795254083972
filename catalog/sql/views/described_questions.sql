-- described_questions: one row per question that no later version replaces (outdone_questions), with whether it is
-- primary and why not
CREATE OR REPLACE VIEW internal.described_questions AS
SELECT
    *,
    coalesce(
        nullif(name, ''), claim || ': ' || concat_ws(' ', task, nullif(metric, task)) || ' in ' || languages
    ) AS title
FROM (
    SELECT
        *,
        CASE WHEN group_kind = 'language' THEN group_name ELSE concat_ws(':', group_kind, nullif(group_name, '')) END
            AS languages,
        CASE
            WHEN is_primary THEN 'primary'
            WHEN NOT is_declared THEN 'exploratory: not declared'
            WHEN declared_after > 0 THEN 'exploratory: ' || declared_after || ' results existed before it was declared'
                || coalesce(', such as evaluation ' || earlier_evaluation_id, '')
            WHEN n_seeds_declared IS NOT NULL THEN 'exploratory: declared for ' || n_seeds_declared || ' seeds'
            WHEN awaits_masks THEN 'exploratory: its masks were not compared with those of variants that had results'
            ELSE 'exploratory: declared as such'
        END AS status
    FROM questions
    ANTI JOIN internal.outdone_questions USING (question_id)
) AS q;
-- languages: the group of languages as a recipe names it
-- status: primary, or exploratory and why
-- title: the name, or for a question that is not declared what it asks
