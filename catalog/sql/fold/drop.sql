-- drop: removes a table, view or macro that this version does not have any more
DROP {what} IF EXISTS {name};
