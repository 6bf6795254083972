-- described_variants: variants and how they were pruned. One row per variant, with its label and its demonstration sets.
-- Variants of equal method are the points of a curve: they differ only in sparsity, seeds and sizes of the sets. is_dense
-- marks the unpruned model. seed is the seed of the random score, otherwise of the demonstration set. settings is a text for
-- the settings that are not defaults (NULL if all are). demonstration_label covers all sets that were read. Equal set_ids
-- mean the same sets; equal sets_made_of mean sets that differ in nothing but profile and seed. The rows are materialized in
-- variant_descriptions.
CREATE OR REPLACE VIEW described_variants AS
SELECT * EXCLUDE (method_id) FROM internal.variant_descriptions;
