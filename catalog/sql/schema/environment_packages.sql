-- environment_packages: one row per package that was installed in an environment
CREATE OR REPLACE TABLE environment_packages (
    environment_id VARCHAR,  -- -> environments: the environment
    package VARCHAR,         -- name of the package, in lower case
    version VARCHAR,         -- its version
    PRIMARY KEY (environment_id, package)
);
