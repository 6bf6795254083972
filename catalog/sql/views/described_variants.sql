-- described_variants: one row per variant, with its name and what its demonstration sets are made of.
-- is_dense marks the unpruned model; seed is that of the random score, else that of the demonstration set.
-- settings says in words what of the variant is no default (NULL: all is), so that what is grouped by score, structure,
-- propagation, kind of set and settings is of one method: only seeds, languages and sizes of the sets vary within.
-- demonstrations names all sets that were read; equal set_ids are the same sets, equal sets_made_of the same but for
-- their profile and seed. The rows are kept in variant_descriptions, which each fold brings up to date.
CREATE OR REPLACE VIEW described_variants AS
SELECT * EXCLUDE (method) FROM variant_descriptions;
