-- tasks: one row per task, language and split whose items were evaluated, with its limit, prompts and profile
CREATE OR REPLACE TABLE tasks (
    items_id VARCHAR,          -- id of the items, and name of their file in items/
    task VARCHAR,              -- name of the task
    language VARCHAR,          -- language of the examples; for translation a pair such as fr-en
    split VARCHAR,             -- dev or test
    example_limit BIGINT,      -- number of examples that were asked for; NULL for the full split
    limit_seed BIGINT,         -- seed of the examples that example_limit kept; 0 for the full split
    profile VARCHAR,           -- corrected, or paper: the examples of the published code
    prompts VARCHAR,           -- words around the examples: en, or native for the language of the examples
    n BIGINT,                  -- number of items
    n_clusters BIGINT,         -- number of clusters: items of one cluster depend on each other
    n_candidates BIGINT,       -- number of candidates of all items; NULL for translation and perplexity, as the next columns
    least_candidates BIGINT,   -- smallest number of candidates of an item
    most_candidates BIGINT,    -- largest number of candidates of an item
    chance DOUBLE,             -- expected accuracy of a random choice: mean of 1 / number of candidates
    majority_share DOUBLE,     -- share of the most frequent right label; NULL if the candidates differ between items
    PRIMARY KEY (items_id)
);
