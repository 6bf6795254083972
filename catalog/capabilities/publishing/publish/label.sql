-- label: one row with the label of a variant
-- $variant_id VARCHAR
SELECT label FROM internal.variant_descriptions WHERE variant_id = $variant_id;
