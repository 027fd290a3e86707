CREATE TABLE order_detail_g1 (
    id           uuid   PRIMARY KEY,
    customer_id  text   NOT NULL,
    status       text   NOT NULL,
    lines        jsonb  NOT NULL,
    total_amount bigint NOT NULL, -- minor units of the currency
    currency     text   NOT NULL,
    placed_at    bigint NOT NULL, -- milliseconds since 1970-01-01T00:00:00Z
    version      bigint NOT NULL
);
