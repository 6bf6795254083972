-- chosen_on_dev: one row per variant and task for which it was chosen on dev.
SELECT variant_id, 'chosen on dev: ' || task AS reason
FROM choices
WHERE is_chosen
