-- comment_on_table: says what one row means
COMMENT ON {what} {table} IS '{comment}';
