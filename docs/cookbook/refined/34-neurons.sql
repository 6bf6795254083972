-- Does a language need its own neurons?
-- Log perplexity against dense without the feed-forward neurons of a language, next to the mean of three variants without
-- as many random neurons in every block. Named query: `neuron_effects`.
SELECT w.neurons->>'of' AS neurons_of, c.language,
    avg(c.difference) FILTER (w.neurons->>'action' = 'remove') AS removed,
    avg(c.difference ORDER BY c.variant_id) FILTER (w.neurons->>'action' = 'random') AS as_many_random,
    max(c.p_corrected) FILTER (w.neurons->>'action' = 'remove') AS p_corrected
FROM against_dense AS c
JOIN variants AS w ON w.variant_id = c.variant_id
WHERE c.metric = 'perplexity' AND c.group_kind = 'language' AND w.neurons IS NOT NULL
GROUP BY ALL
ORDER BY neurons_of, language;
