-- tasks: one row per task that was evaluated by accuracy
SELECT DISTINCT task FROM metrics WHERE metric = 'accuracy' AND profile = 'corrected' ORDER BY task;
