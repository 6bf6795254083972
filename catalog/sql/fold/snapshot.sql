-- snapshot: one row: fingerprint of the folded records, 20 hex digits over the records (kind, id, step version) and the
-- SHA-256 of their artefacts, and over the questions of quarantined records, if there are any. It does not depend on the
-- order of folding, or on run files.
SELECT left(sha256(concat_ws(
    ' ',
    (SELECT count(*) FROM records),
    (SELECT bit_xor(md5_number(concat_ws(' ', kind, id, step_version))) FROM records),
    (SELECT bit_xor(md5_number(concat_ws(' ', kind, id, path, sha256))) FROM artefacts),
    (SELECT bit_xor(md5_number(concat_ws(' ', recipe, question_id, record_id))) FROM quarantined_questions)
)), 20) AS snapshot_id;
