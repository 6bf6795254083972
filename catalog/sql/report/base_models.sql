-- base_models: one row per base model in the store
SELECT source, family, n_blocks, hidden_size, n_prunable, base_model_id FROM base_models ORDER BY source, base_model_id;
