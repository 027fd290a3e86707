"""Real baskets as orders: one line of text per basket, in time order.

Usage: baskets.py TRANSACTIONS.parquet BASKETS.tsv SUMMARY.json

A line of BASKETS.tsv is  basket id, household, local time of the till (ISO 8601), lines  with tabs between; a line of the
basket is  product:quantity:unit_price  (US cents), with commas between, in the order of the source.

The rule: no line and no basket is left out, and the sum of a basket is what was paid for it, to the cent. The source says
what was paid for a line and how many units it had. Where the quantity is one that an order may have (1 to 9,999) and divides
the cents, quantity and unit price are taken from it. Elsewhere (fuel counted in thousandths of a gallon, coupons with
quantity 0, three for two dollars) the line is one unit at what was paid. SUMMARY.json counts both.
"""

import json
import sys

import duckdb

LINES = """
CREATE VIEW lines AS
SELECT basket_id, household_id, transaction_timestamp AS paid_at, product_id, file_row_number AS position,
       round(sales_value * 100)::BIGINT AS cents,
       quantity BETWEEN 1 AND 9999 AND round(sales_value * 100)::BIGINT % greatest(quantity, 1) = 0 AS divides,
       CASE WHEN divides THEN quantity ELSE 1 END AS units,
       cents // units AS unit_price
FROM read_parquet(?, file_row_number = true)
"""

# Two times or two households in one basket would make its day and its customer a matter of chance.
CHECKS = {
    "cents are not exact": "SELECT count(*) FROM read_parquet(?) WHERE abs(sales_value * 100 - round(sales_value * 100)) > 1e-6",
    "a sales value is negative": "SELECT count(*) FROM read_parquet(?) WHERE sales_value < 0",
    "a basket has two times or households": """
        SELECT count(*) FROM (SELECT basket_id FROM read_parquet(?) GROUP BY basket_id
        HAVING count(DISTINCT transaction_timestamp) > 1 OR count(DISTINCT household_id) > 1)""",
    "a basket has more than 200 lines": """
        SELECT count(*) FROM (SELECT basket_id FROM read_parquet(?) GROUP BY basket_id HAVING count(*) > 200)""",
}


def main(source, target, summary):
    database = duckdb.connect()
    for fault, query in CHECKS.items():
        if count := database.execute(query, [source]).fetchone()[0]:
            sys.exit(f"{source}: {fault} ({count} times)")
    # A view takes no parameters.
    database.execute(LINES.replace("?", "'" + source.replace("'", "''") + "'"))
    with open(target, "w", encoding="ascii") as out:
        baskets = database.execute("""
            SELECT basket_id, household_id, strftime(any_value(paid_at), '%Y-%m-%dT%H:%M:%S'),
                   string_agg(product_id || ':' || units || ':' || unit_price, ',' ORDER BY position)
            FROM lines GROUP BY basket_id, household_id ORDER BY any_value(paid_at), basket_id""")
        while rows := baskets.fetchmany(10_000):
            out.writelines("\t".join(map(str, row)) + "\n" for row in rows)
    names = ["baskets", "lines", "cents", "lines_taken_as_one_unit", "first", "last"]
    values = database.execute("""
        SELECT count(DISTINCT basket_id), count(*), sum(units * unit_price)::BIGINT, count(*) FILTER (NOT divides),
               strftime(min(paid_at), '%Y-%m-%d'), strftime(max(paid_at), '%Y-%m-%d') FROM lines""").fetchone()
    paid = database.execute("SELECT sum(round(sales_value * 100)::BIGINT)::BIGINT FROM read_parquet(?)", [source]).fetchone()[0]
    if paid != values[2]:
        sys.exit(f"the baskets come to {values[2]} cents, but {paid} were paid")
    with open(summary, "w", encoding="ascii") as out:
        json.dump(dict(zip(names, values)), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
