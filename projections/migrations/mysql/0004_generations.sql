-- What is wished and known of the generations of each view.
CREATE TABLE generations (
    view_name  varchar(64) NOT NULL,
    generation int         NOT NULL,
    -- JSON.
    notes      mediumtext  NOT NULL,
    PRIMARY KEY (view_name, generation)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The one that readers see; without a row, the one that migrations made.
CREATE TABLE live_generations (
    view_name  varchar(64) NOT NULL PRIMARY KEY,
    generation int         NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
