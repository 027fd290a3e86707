-- Events that cannot be applied, and those that queue behind them. Moves in the transaction that moves the checkpoint.
CREATE TABLE parked_events (
    view_name        varchar(64) NOT NULL,
    generation       int         NOT NULL,
    topic            varchar(64) NOT NULL,
    partition_number int         NOT NULL,
    record_offset    bigint      NOT NULL,
    -- In hexadecimal.
    record_key       mediumtext  NOT NULL,
    -- Operators want the key tried again.
    wanted           boolean     NOT NULL DEFAULT false,
    -- JSON: the record and why it waits.
    content          mediumtext  NOT NULL,
    PRIMARY KEY (view_name, generation, topic, partition_number, record_offset)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What operators decided of records, for every generation of a view.
CREATE TABLE resolutions (
    view_name        varchar(64) NOT NULL,
    topic            varchar(64) NOT NULL,
    partition_number int         NOT NULL,
    record_offset    bigint      NOT NULL,
    -- JSON.
    content          mediumtext  NOT NULL,
    PRIMARY KEY (view_name, topic, partition_number, record_offset)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
