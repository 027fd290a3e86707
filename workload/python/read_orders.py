"""Reads the orders' topic as an analyst would, with nothing of Lonja: confluent-kafka and the schema registry.

Reads from the beginning to where the topic ends now and prints one JSON object: how many records there are, how many of them
are void (with --rule), and the totals of the orders placed: by the day (UTC) on which they were placed, or, with --days FILE
(lines `order id<TAB>day`), by the day that the file gives to an order.

Without --rule every record counts. That is right as long as no owner was ever deposed alive; --rule always is.
"""

import argparse
import collections
import json
import sys
import time

import duckdb_rule
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

# Seconds without any record after which the broker counts as gone.
PATIENCE = 30


def read(kafka, topic):
    """Every record of `topic`, partition by partition in the order of the log."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error"})
    metadata = consumer.list_topics(topic, timeout=PATIENCE).topics[topic]
    if metadata.error:
        sys.exit(f"{topic}: {metadata.error}")
    partitions = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in sorted(metadata.partitions)]
    ends = {part.partition: consumer.get_watermark_offsets(part, timeout=PATIENCE)[1] for part in partitions}
    waiting = {number for number, end in ends.items() if end > 0}
    consumer.assign([part for part in partitions if part.partition in waiting])
    heard = time.monotonic()
    while waiting:
        # It waits out its timeout unless it gets as many as it was asked for.
        messages = consumer.consume(2_000, timeout=0.2)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > PATIENCE:
            sys.exit(f"{topic}: nothing came for {PATIENCE} s, partitions {sorted(waiting)} are not read to their end")
        for message in messages:
            if message.error():
                sys.exit(f"{topic}: {message.error()}")
            if message.offset() < ends[message.partition()]:
                yield message
            if message.offset() + 1 >= ends[message.partition()]:
                waiting.discard(message.partition())
    consumer.close()


def kind(message):
    return next((value.decode() for name, value in message.headers() or [] if name == "ce_type"), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--topic", default="order.events")
    parser.add_argument("--rule", action="store_true", help="apply the reader's rule with DuckDB")
    parser.add_argument("--days", help="file that gives a day to an order; others are left out")
    args = parser.parse_args()

    messages = list(read(args.kafka, args.topic))
    if args.rule:
        rows = (duckdb_rule.row(m.partition(), m.offset(), m.headers() or []) for m in messages)
        counts = duckdb_rule.valid(row for row in rows if row)
        decisions = [m for m in messages if (m.partition(), m.offset()) in counts]
    else:
        decisions = [m for m in messages if kind(m) != "lonja.log.TermStarted"]
    days = None
    if args.days:
        with open(args.days, encoding="utf-8") as file:
            days = dict(line.rstrip("\n").split("\t") for line in file)

    # The writer's schema comes from the registry by the id in each record; the reader brings none.
    decode = AvroDeserializer(SchemaRegistryClient({"url": args.registry}))
    totals = collections.defaultdict(lambda: [0, 0])
    for message in decisions:
        if kind(message) != "lonja.order.OrderPlaced":
            continue
        order = decode(message.value(), SerializationContext(args.topic, MessageField.VALUE))
        day = days.get(order["order_id"]) if days is not None else order["placed_at"].date().isoformat()
        if day is not None:
            totals[day][0] += 1
            totals[day][1] += order["total"]
    json.dump(
        {
            "records": len(messages),
            "decisions": len(decisions),
            "days": [{"day": day, "orders": orders, "total": total} for day, (orders, total) in sorted(totals.items())],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
