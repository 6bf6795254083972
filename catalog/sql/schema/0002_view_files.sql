-- view_files: one row per view, with the text it was made from
CREATE TABLE view_files (
    view_name VARCHAR,  -- name of the view
    sha256 VARCHAR,     -- SHA-256 of its file: another one means the view is made again
    PRIMARY KEY (view_name)
);
