-- item_flows: one row per task, language and split whose items were evaluated: what was read, left out and kept
CREATE OR REPLACE TABLE item_flows (
    items_id VARCHAR,           -- -> tasks: the items
    task VARCHAR,               -- name of the task
    language VARCHAR,           -- language of the examples; for translation a pair such as fr-en
    split VARCHAR,              -- dev or test
    n_read BIGINT,              -- number of rows or lines that were read: the sum of the next columns
    n_blank BIGINT,             -- number of rows with a blank text, which are left out
    n_equal_candidates BIGINT,  -- number of rows with equal candidates, which are left out
    n_unusable BIGINT,          -- number of rows that the published layout leaves out for another reason
    n_without_item BIGINT,      -- number of rows that the task has no question for
    n_other_half BIGINT,        -- number of items in the other half of a corpus, with split_by: clusters those whose cluster is in it
    n_beyond_limit BIGINT,      -- number of items that example_limit leaves out
    n_items BIGINT,             -- number of items that are kept, before those that are longer than the model
    PRIMARY KEY (items_id)
);
