-- data_sets: one row per data set of a hub that a recipe names, with its revision and commit
SELECT DISTINCT name, id FROM names WHERE kind = 'data_set' ORDER BY name, id;
