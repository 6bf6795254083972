-- known_values: one row per value that begins with a text, for the completion in a shell: a label of a variant or a name
-- that a recipe gives it, a task with an evaluation, or its language
-- $kind VARCHAR: variant, task or language
-- $beginning VARCHAR
WITH known AS (
    SELECT 'variant' AS kind, label AS value FROM internal.variant_descriptions
    UNION
    SELECT kind, name AS value FROM names WHERE kind = 'variant'
    UNION
    SELECT 'task' AS kind, task AS value FROM evaluations
    UNION
    SELECT 'language' AS kind, language AS value FROM evaluations
)
SELECT value FROM known WHERE kind = $kind AND starts_with(value, $beginning) ORDER BY value LIMIT 200;
