-- answer_remarks: one row per answer to a declared question: what the store knew of its variants and baselines when it was
-- declared. Remarks change no verdict; n_known_baselines multiplies the p-value.
CREATE OR REPLACE VIEW internal.answer_remarks AS
WITH pairs AS (
    SELECT
        a.question_id, a.comparison_id, max(v.n_known_baselines) AS n_known_baselines,
        max(v.mask_agreement) AS mask_agreement,
        arg_max(v.nearest_variant_id, v.mask_agreement) AS nearest_variant_id
    FROM answer_results AS a
    JOIN question_variants AS v
        ON v.question_id = a.question_id
        AND (a.comparison_id = '' OR (v.variant_id = a.variant_id AND v.baseline_id = a.baseline_id))
    GROUP BY a.question_id, a.comparison_id
)
SELECT
    p.*,
    nullif(concat_ws(
        '; ',
        CASE
            WHEN p.n_known_baselines > 1
                THEN 'baseline known, one of ' || p.n_known_baselines || ' choices: p is multiplied by ' || p.n_known_baselines
            WHEN p.n_known_baselines = 1 THEN 'baseline known'
        END,
        CASE
            WHEN p.mask_agreement >= 0.99
                THEN 'masks agree in ' || printf('%.2f', floor(10000 * p.mask_agreement) / 100)
                    || ' % of the weights with variant ' || p.nearest_variant_id || ', which had results'
        END,
        'results in ' || q.other_languages || ' were known'
    ), '') AS remarks
FROM pairs AS p
JOIN questions AS q ON q.question_id = p.question_id;
-- n_known_baselines: number of choices among the baselines with results before the declaration that differ in seeds only, of one or of as many as a mean asks about; 1 if the question asks about all of them; NULL if the baseline had no results
-- mask_agreement: share of the weights that a variant and its nearest variant with results both keep or both remove, the largest of the question's variants for a mean; NULL if no such variant had results
-- nearest_variant_id: this nearest variant
-- remarks: these facts as a text, with masks from an agreement of 99 % on; NULL for none
