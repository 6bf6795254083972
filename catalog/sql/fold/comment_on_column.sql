-- comment_on_column: says what a column means
COMMENT ON COLUMN {table}.{column} IS '{comment}';
