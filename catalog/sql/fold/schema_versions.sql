-- schema_versions: one row per schema file that was applied
SELECT version FROM schema_migrations;
