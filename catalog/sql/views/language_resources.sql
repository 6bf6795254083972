-- language_resources: one row per language: its usual script, and how many resources it has. resource_class is from 0
-- (left behind) to 5 (winners), the taxonomy of Joshi et al. 2020, The State and Fate of Linguistic Diversity and
-- Inclusion in the NLP World (arXiv 2004.09095), as in their list of languages. Languages that are not in the list have
-- no row.
CREATE OR REPLACE VIEW language_resources AS
SELECT * FROM (
    VALUES
    ('en', 'Latn', 5), ('es', 'Latn', 5), ('de', 'Latn', 5), ('ja', 'Jpan', 5), ('fr', 'Latn', 5), ('ar', 'Arab', 5),
    ('zh', 'Hans', 5), ('zh-Hant', 'Hant', 5),
    ('ru', 'Cyrl', 4), ('hu', 'Latn', 4), ('vi', 'Latn', 4), ('nl', 'Latn', 4), ('ko', 'Hang', 4), ('tr', 'Latn', 4),
    ('it', 'Latn', 4), ('fa', 'Arab', 4), ('pl', 'Latn', 4), ('pt', 'Latn', 4), ('cs', 'Latn', 4), ('hi', 'Deva', 4),
    ('fi', 'Latn', 4), ('sv', 'Latn', 4), ('hr', 'Latn', 4), ('sr', 'Cyrl', 4), ('ca', 'Latn', 4), ('eu', 'Latn', 4),
    ('id', 'Latn', 3), ('uk', 'Cyrl', 3), ('af', 'Latn', 3), ('he', 'Hebr', 3), ('el', 'Grek', 3), ('ro', 'Latn', 3),
    ('da', 'Latn', 3), ('sk', 'Latn', 3), ('sl', 'Latn', 3), ('lv', 'Latn', 3), ('lt', 'Latn', 3), ('et', 'Latn', 3),
    ('bn', 'Beng', 3), ('th', 'Thai', 3), ('ur', 'Arab', 3), ('ms', 'Latn', 3), ('ta', 'Taml', 3), ('kk', 'Cyrl', 3),
    ('uz', 'Latn', 3), ('ka', 'Geor', 3), ('be', 'Cyrl', 3), ('bg', 'Cyrl', 3), ('tl', 'Latn', 3), ('gl', 'Latn', 3),
    ('sw', 'Latn', 2), ('zu', 'Latn', 2), ('xh', 'Latn', 2), ('yo', 'Latn', 2), ('ha', 'Latn', 2), ('am', 'Ethi', 2),
    ('ga', 'Latn', 2), ('mt', 'Latn', 2), ('lo', 'Laoo', 2), ('is', 'Latn', 2), ('mr', 'Deva', 2), ('pa', 'Guru', 2),
    ('ht', 'Latn', 2),
    ('sq', 'Latn', 1), ('az', 'Latn', 1), ('my', 'Mymr', 1), ('ig', 'Latn', 1), ('jv', 'Latn', 1), ('km', 'Khmr', 1),
    ('nb', 'Latn', 1), ('te', 'Telu', 1), ('cy', 'Latn', 1), ('mk', 'Cyrl', 1), ('kn', 'Knda', 1), ('ml', 'Mlym', 1),
    ('ne', 'Deva', 1), ('gu', 'Gujr', 1), ('hy', 'Armn', 1), ('so', 'Latn', 1), ('qu', 'Latn', 1),
    ('si', 'Sinh', 0)
) AS t(language, script, resource_class);
-- script: ISO 15924 code of its usual script
-- resource_class: from 0 (left behind) to 5 (winners)
