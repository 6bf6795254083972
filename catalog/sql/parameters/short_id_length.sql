-- short_id_length: one row: the number of digits, at least $least, that tell the ids in $ids from every other record.
WITH shown AS (SELECT unnest($ids::VARCHAR[]) AS id),
everything AS (SELECT DISTINCT id FROM records UNION SELECT id FROM shown),
alike AS (
    SELECT s.id, e.id AS other
    FROM shown AS s
    JOIN everything AS e ON left(e.id, $least) = left(s.id, $least) AND e.id <> s.id
)
SELECT coalesce(max(n) + 1, $least)::INTEGER AS length
FROM alike, range($least, 20) AS digits(n)
WHERE left(alike.id, n) = left(alike.other, n);
