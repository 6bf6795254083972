-- kept: one row per variant whose files are kept whatever its rank, for one of the reasons in the files of the folders
-- `kept` of this package and of capabilities, each with rows of variants and reasons.
SELECT variant_id, min(reason) AS reason
FROM ({reasons}) AS reasons
GROUP BY variant_id
ORDER BY variant_id;
