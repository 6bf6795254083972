-- Are features that are large on some text small while the model translates?
-- Share of the 30 % largest features of one set that are among the 30 % smallest of a translation set, by depth, mean
-- over the sets of a kind. Depth 0 is the embedding; 0.3 is expected by chance. Named query:
-- `feature_overlap_by_depth`.
PIVOT (
    SELECT a.kind AS large_in, o.depth, round(avg(o.value), 3) AS overlap
    FROM feature_overlaps AS o
    JOIN demonstration_sets AS a ON a.demonstration_set_id = o.set_a
    JOIN demonstration_sets AS b ON b.demonstration_set_id = o.set_b
    WHERE b.kind = 'translation' AND o.share = 0.3
    GROUP BY a.kind, o.depth
) ON depth IN (0, 1, 2, 3, 4) USING any_value(overlap) GROUP BY large_in
ORDER BY large_in;
