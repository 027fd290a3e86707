CREATE TABLE stock_level_g1 (
    sku       varchar(64) NOT NULL PRIMARY KEY,
    on_hand   bigint      NOT NULL,
    reserved  bigint      NOT NULL,
    available bigint      NOT NULL,
    version   bigint      NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
