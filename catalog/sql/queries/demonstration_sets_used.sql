-- demonstration_sets_used: one row per demonstration set: its parameters, and the number of variants that read it.
-- topic: methods
SELECT
    n.set_name, d.kind, d.source_language, d.target_language, d.shots, d.samples, d.max_tokens, d.n_tokens, d.seed,
    d.profile, d.template, d.token_budget, d.task, d.paired,
    coalesce(u.n_variants, 0) AS n_variants,
    coalesce(u.n_as_contrast, 0) AS n_as_contrast,
    coalesce(p.n_parts, 0) AS n_parts,
    d.demonstration_set_id
FROM demonstration_sets AS d
LEFT JOIN (
    SELECT id, min(name) AS set_name FROM names WHERE kind = 'demonstration_set' GROUP BY id
) AS n ON n.id = d.demonstration_set_id
LEFT JOIN (
    SELECT
        demonstration_set_id,
        count(DISTINCT variant_id) AS n_variants,
        count(DISTINCT variant_id) FILTER (WHERE role LIKE 'contrast%') AS n_as_contrast
    FROM variant_demonstrations
    GROUP BY demonstration_set_id
) AS u USING (demonstration_set_id)
LEFT JOIN (
    SELECT demonstration_set_id, count(*) AS n_parts FROM demonstration_set_parts GROUP BY demonstration_set_id
) AS p USING (demonstration_set_id)
ORDER BY d.kind, n.set_name, d.demonstration_set_id;
