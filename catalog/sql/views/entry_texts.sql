-- entry_texts: one row per set of labels of demonstration sets in an entry of a declared question, and these texts in plain
-- words, such as translations from Swahili. Labels that are not made of languages have no row
CREATE OR REPLACE VIEW internal.entry_texts AS
WITH parts AS (
    SELECT
        labels, labels[1] LIKE 'mixed %' AS is_mixed, len(labels) > 1 AS is_choice,
        unnest(list_distinct(flatten(list_transform(
            labels, lambda label: string_split(regexp_replace(label, '^mixed ', ''), ' + ')
        )))) AS part
    FROM (
        SELECT texts AS labels FROM internal.question_entries
        UNION
        SELECT fitted_on FROM internal.question_entries
        UNION
        SELECT coded_on FROM internal.question_entries
    )
    WHERE labels <> []
),
named AS (
    SELECT
        p.labels, p.is_mixed, p.is_choice, p.part, contains(p.part, '-') AS is_pair,
        s.language_name || CASE
            WHEN NOT is_pair OR t.language = 'en' THEN ''
            ELSE ' into ' || t.language_name
        END AS words
    FROM parts AS p
    LEFT JOIN internal.language_resources AS s ON s.language = split_part(p.part, '-', 1)
    LEFT JOIN internal.language_resources AS t ON t.language = split_part(p.part, '-', 2)
)
SELECT
    labels,
    list(words ORDER BY words) FILTER (NOT is_pair) AS languages,
    list(words ORDER BY words) FILTER (is_pair) AS sources,
    CASE WHEN any_value(is_choice) THEN ' or ' ELSE ' and ' END AS joined_by,
    CASE WHEN any_value(is_mixed) THEN 'a mix of ' ELSE '' END || concat_ws(
        ' and ',
        CASE len(languages) WHEN 1 THEN languages[1]
            ELSE array_to_string(languages[:-2], ', ') || joined_by || languages[-1]
        END || CASE WHEN any_value(is_mixed) THEN '' ELSE ' text' END,
        'translations from ' || CASE len(sources) WHEN 1 THEN sources[1]
            ELSE array_to_string(sources[:-2], ', ') || joined_by || sources[-1]
        END
    ) AS words
FROM named
GROUP BY labels
HAVING bool_and(words IS NOT NULL) AND (count(DISTINCT is_pair) = 1 OR NOT any_value(is_choice));
-- labels: the labels, sorted
-- languages: languages of texts in one language
-- sources: languages of translations
-- joined_by: how several of them are joined: or, if an entry has variants of each
-- words: the texts in plain words
