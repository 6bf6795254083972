-- language_resources: one row per language: its usual script, and how many resources it has. resource_class is from 0
-- (fewest) to 5 (most), the taxonomy of Joshi et al. 2020, The State and Fate of Linguistic Diversity and
-- Inclusion in the NLP World (arXiv 2004.09095), as in their list of languages. Languages that are not in the list have
-- no row.
CREATE OR REPLACE VIEW internal.language_resources AS
SELECT * FROM (
    VALUES {languages}
) AS t(language, script, resource_class, language_name);
-- script: ISO 15924 code of its usual script
-- resource_class: from 0 (fewest) to 5 (most)
-- language: tag of the language
-- language_name: its English name
