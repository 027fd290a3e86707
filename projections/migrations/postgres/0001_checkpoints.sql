-- How far each view has folded each partition. Moves in the statement that writes the view's rows.
CREATE TABLE checkpoints (
    view_name        text   NOT NULL,
    generation       int    NOT NULL,
    topic            text   NOT NULL,
    partition_number int    NOT NULL,
    next_offset      bigint NOT NULL,
    -- The reader's rule: the current term and the sequence number reached in it.
    term_number      bigint,
    term_nonce       uuid,
    sequence         bigint NOT NULL,
    -- Identity of the topic, and of the record before next_offset (128 bits of its digest).
    topic_id         uuid   NOT NULL,
    last_record      uuid   NOT NULL,
    PRIMARY KEY (view_name, generation, topic, partition_number)
)
-- Every commit updates rows here: room for the new version on the same page keeps the index out of it.
WITH (fillfactor = 50);
