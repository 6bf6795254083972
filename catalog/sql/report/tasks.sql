-- tasks: one row per task that was evaluated by accuracy
SELECT DISTINCT task FROM metrics WHERE metric = 'accuracy' ORDER BY task;
