"""One method's results in every language as a small file, a row of the table of methods by language."""
