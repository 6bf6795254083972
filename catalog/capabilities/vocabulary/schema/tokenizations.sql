-- tokenizations: one row per variant with a smaller vocabulary, choice of lines and language: how their tokens and log-probabilities change
CREATE OR REPLACE TABLE tokenizations (
    tokenizations_id VARCHAR,         -- id of the measurement
    variant_id VARCHAR,               -- -> variants: the variant
    language VARCHAR,                 -- language of the lines
    is_kept BOOLEAN,                  -- whether its tokens were counted for the choice of kept tokens
    n_lines BIGINT,                   -- number of measured lines; the other columns describe them
    n_longer_lines BIGINT,            -- lines left out because their tokens, those of the base model or the variant's, are more than the model has positions
    n_words BIGINT,                   -- words: parts between spaces
    n_characters BIGINT,              -- characters
    n_changed_lines BIGINT,           -- lines whose tokens the variant's tokenizer changes
    n_tokens_dense BIGINT,            -- tokens of the base model's tokenizer
    n_unknown_dense BIGINT,           -- of these, unknown tokens
    n_partial_dense BIGINT,           -- of these, tokens of a part of a character, such as a byte
    n_tokens BIGINT,                  -- tokens of the variant's tokenizer
    n_unknown BIGINT,                 -- of these, unknown tokens
    n_partial BIGINT,                 -- of these, tokens of a part of a character, such as a byte
    log_prob_dense DOUBLE,            -- log-probability of all lines: tokens of the base model, all logits
    log_prob_trimmed DOUBLE,          -- the same with the variant's tokens, removed tokens at minus infinity: the exported model
    log_prob_cost DOUBLE,             -- the same with the variant's tokens, all logits: the normaliser of the base model
    n_masked_lines BIGINT,            -- lines whose tokens of the base model are all kept
    n_masked_characters BIGINT,       -- characters of these lines
    log_prob_masked DOUBLE,           -- log-probability of these lines: tokens of the base model, removed tokens at minus infinity; NULL without such lines
    log_prob_dense_of_masked DOUBLE,  -- log-probability of the same lines with all logits; NULL without such lines
    log_cost DOUBLE,                  -- (log_prob_dense - log_prob_cost) / n_characters: log of the ratio of the perplexities per character; NULL if no line is measured
    log_cost_low DOUBLE,              -- lower end of its interval of 95 % over lines; NULL for a single line
    log_cost_high DOUBLE,             -- upper end
    PRIMARY KEY (tokenizations_id, language)
);
