-- environment_packages: one row per package that was installed in an environment
CREATE TABLE environment_packages (
    environment_id VARCHAR,  -- the environment
    package VARCHAR,         -- name of the package, in lower case
    version VARCHAR,         -- its version
    PRIMARY KEY (environment_id, package)
);
