CREATE TABLE order_list_g1 (
    id           uuid   PRIMARY KEY,
    customer_id  text   NOT NULL,
    status       text   NOT NULL,
    total_amount bigint NOT NULL, -- minor units of the currency
    currency     text   NOT NULL,
    placed_at    bigint NOT NULL, -- milliseconds since 1970-01-01T00:00:00Z
    version      bigint NOT NULL
);

-- A customer's page is one walk along this index, from where the page before it ended.
CREATE INDEX order_list_g1_by_customer ON order_list_g1 (customer_id, placed_at DESC, id DESC);
