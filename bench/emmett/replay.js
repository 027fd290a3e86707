// The Node.js peer of `cargo xtask bench replay`: Emmett with its PostgreSQL event store. `--replay N` puts N events, each an
// order of its own with the content of Lonja's bench, into its event store by one statement that calls its append, and then
// builds the table `order_view` by its own `rebuildPostgreSQLProjections`, with `synchronous_commit` off as Lonja has it for
// views.
//
// Chosen in its favour where there was a choice:
// - A raw SQL projection: one INSERT per event. Its Pongo projections read, and then write, a document per event.
// - Batches of 1,000 events instead of its 100, and no rest after each: it scans all events for each batch, as they have no
//   index by position. With larger ones the checkpoint, which it updates for each event within one transaction, costs more.

import { parseArgs } from 'node:util';
import { dumbo, single, sql } from '@event-driven-io/dumbo';
import {
  getPostgreSQLEventStore,
  postgreSQLRawSQLProjection,
  rebuildPostgreSQLProjections,
} from '@event-driven-io/emmett-postgresql';

const BATCH = 1_000;

const FILL = `
SELECT count(*)
FROM generate_series(1, %s) AS number, emt_append_to_stream(
  ARRAY[gen_random_uuid()::text],
  ARRAY[jsonb_build_object(
    'customer_id', 'customer-' || lpad(number::text, 7, '0'), 'currency', 'EUR', 'lines', jsonb_build_array(
      jsonb_build_object('sku', 'tea-assam-250', 'quantity', 2, 'unit_price', 749),
      jsonb_build_object('sku', 'cup-stoneware-03', 'quantity', 1, 'unit_price', 1290),
      jsonb_build_object('sku', 'honey-heather-500', 'quantity', 3, 'unit_price', 885)),
    'total', 5443)],
  ARRAY['{}'::jsonb], ARRAY['1'], ARRAY['OrderPlaced'], ARRAY['E'],
  'order-' || gen_random_uuid(), 'order', NULL, 'emt:default')`;

const orderView = postgreSQLRawSQLProjection({
  name: 'order_view',
  canHandle: ['OrderPlaced'],
  evolve: ({ data, metadata }) =>
    sql(
      `INSERT INTO order_view (id, status, customer_id, currency, lines, total) VALUES (%L, 'placed', %L, %L, %L, %L)`,
      metadata.streamName,
      data.customer_id,
      data.currency,
      JSON.stringify(data.lines),
      data.total,
    ),
  init: () =>
    sql(`CREATE TABLE IF NOT EXISTS order_view (
      id          text   NOT NULL PRIMARY KEY,
      status      text   NOT NULL,
      customer_id text   NOT NULL,
      currency    text   NOT NULL,
      lines       jsonb  NOT NULL,
      total       bigint NOT NULL
    )`),
});

const { values } = parseArgs({ options: { postgres: { type: 'string' }, replay: { type: 'string' } } });
const events = Number(values.replay);
const url = new URL(values.postgres);
url.searchParams.set('options', '-c synchronous_commit=off');
const connectionString = url.href;

// Closed before anything else is done: what makes its tables leaves a limit of 10 s per statement on its connections.
const store = getPostgreSQLEventStore(connectionString);
await store.schema.migrate();
await store.close();
const pool = dumbo({ connectionString });
await pool.execute.query(sql(FILL, events));

const consumer = rebuildPostgreSQLProjections({
  connectionString,
  pool,
  projections: [orderView],
  pulling: { batchSize: BATCH, pullingFrequencyInMs: 0 },
});
const started = performance.now();
await consumer.start();
const seconds = (performance.now() - started) / 1000;

// It ends without an error when a batch fails.
const { rows } = await single(pool.execute.query(sql('SELECT count(*)::int AS rows FROM order_view')));
await consumer.close();
if (rows !== events) throw new Error(`${rows} rows of ${events} events`);
console.log(JSON.stringify({ seconds }));
