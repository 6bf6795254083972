-- view_versions: one row per view and the text it was made from
SELECT view_name, sha256 FROM view_files;
