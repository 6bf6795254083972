-- variant_columns: one row per variant with texts that describe it, in the order of variant_number in metrics
SELECT label, method, score, structure, propagation, demonstration_label, settings, variant_id, base_model_id
FROM internal.variant_descriptions
ORDER BY base_model_id, sparsity, label, variant_id;
