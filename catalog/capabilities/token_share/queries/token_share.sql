-- token_share: distinct tokens of each text. One row per demonstration set of analyses.token_share and side: the share of
-- its tokens that are distinct. Longer texts repeat more tokens, so compare sets of different sizes by distinct_of_1000, the
-- expected number of distinct tokens among 1,000.
-- topic: methods
SELECT
    s.label, t.language, t.side, t.n_tokens, t.n_distinct, t.n_distinct / t.n_tokens AS share, t.distinct_of_1000,
    t.demonstration_set_id
FROM token_shares AS t
JOIN internal.described_sets AS s ON s.demonstration_set_id = t.demonstration_set_id
ORDER BY s.label, t.side, t.demonstration_set_id;
