-- drop: removes a table, view or macro that this version no longer has
DROP {what} IF EXISTS {name};
