-- packages: one row per package that was installed where jobs ran, as pip writes it
-- $environment_id VARCHAR
SELECT package || '==' || version AS requirement
FROM environment_packages
WHERE environment_id = $environment_id
ORDER BY requirement;
