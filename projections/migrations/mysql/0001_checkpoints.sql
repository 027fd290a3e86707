-- How far each view has folded each partition. Moves in the transaction that writes the view's rows.
CREATE TABLE checkpoints (
    view_name        varchar(64) NOT NULL,
    generation       int         NOT NULL,
    topic            varchar(64) NOT NULL,
    partition_number int         NOT NULL,
    next_offset      bigint      NOT NULL,
    -- The reader's rule: the current term and the sequence number reached in it.
    term_number      bigint,
    term_nonce       char(32),
    sequence         bigint      NOT NULL,
    -- Identity of the topic, and of the record before next_offset (128 bits of its digest), in hexadecimal.
    topic_id         char(32)    NOT NULL,
    last_record      char(32)    NOT NULL,
    PRIMARY KEY (view_name, generation, topic, partition_number)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
