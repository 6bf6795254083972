-- comment_on: writes the meaning of a table, view, macro or column
COMMENT ON {what} {name} IS '{comment}';
