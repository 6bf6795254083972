-- tasks: one row per task that was scored by accuracy.
SELECT DISTINCT task FROM metrics WHERE metric = 'accuracy' ORDER BY task;
