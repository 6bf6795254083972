-- described_models: one row per base model, with a name that no other base model of the catalog has: its source; of
-- several models with one source the folder, or what else differs (dtype, chat template); at last the beginning of the id.
CREATE OR REPLACE VIEW internal.described_models AS
WITH told_apart AS (
    SELECT
        *,
        coalesce(folder, source) AS place,
        count(*) OVER of_source AS n_of_source,
        count(*) OVER (PARTITION BY source, coalesce(folder, source)) AS n_of_place,
        concat_ws(
            ', ',
            CASE WHEN min(coalesce(folder, '')) OVER of_source < max(coalesce(folder, '')) OVER of_source
                THEN coalesce(folder, source) END,
            CASE WHEN min(coalesce(dtype, '')) OVER of_source < max(coalesce(dtype, '')) OVER of_source
                THEN dtype END,
            CASE
                WHEN count(chat_template_sha256) OVER of_source IN (0, count(*) OVER of_source) THEN NULL
                WHEN chat_template_sha256 IS NULL THEN 'no chat template'
                ELSE 'chat template'
            END
        ) AS traits
    FROM base_models
    WINDOW of_source AS (PARTITION BY source)
),
named AS (
    SELECT
        *,
        CASE
            WHEN n_of_source = 1 THEN source
            WHEN n_of_place = 1 THEN place
            ELSE concat(source, ' (' || nullif(traits, '') || ')')
        END AS short_name
    FROM told_apart
)
SELECT
    * EXCLUDE (place, n_of_source, n_of_place, traits, short_name),
    short_name || CASE
        WHEN count(*) OVER (PARTITION BY short_name) > 1 THEN ' #' || left(base_model_id, 6) ELSE ''
    END AS name
FROM named;
-- name: name of the model that no other one of the catalog has
