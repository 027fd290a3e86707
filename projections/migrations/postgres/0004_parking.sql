-- Events that cannot be applied, and those that queue behind them. Moves in the transaction that moves the checkpoint.
CREATE TABLE parked_events (
    view_name        text    NOT NULL,
    generation       int     NOT NULL,
    topic            text    NOT NULL,
    partition_number int     NOT NULL,
    record_offset    bigint  NOT NULL,
    record_key       text    NOT NULL, -- in hexadecimal
    wanted           boolean NOT NULL DEFAULT false, -- operators want the key tried again
    content          text    NOT NULL, -- JSON: the record and why it waits
    PRIMARY KEY (view_name, generation, topic, partition_number, record_offset)
);

-- What operators decided of records, for every generation of a view.
CREATE TABLE resolutions (
    view_name        text   NOT NULL,
    topic            text   NOT NULL,
    partition_number int    NOT NULL,
    record_offset    bigint NOT NULL,
    content          text   NOT NULL, -- JSON
    PRIMARY KEY (view_name, topic, partition_number, record_offset)
);
