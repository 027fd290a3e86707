// The Kafka Connect peer of `cargo xtask bench replay`: Debezium's JDBC sink connector in a standalone Connect worker reads
// `--topic`, the very topic that Lonja writes, and upserts an order that was placed into a table with the columns of Lonja's
// `order_detail`, with `synchronous_commit` off as Lonja has it for views. The seconds are those from the first row that is
// visible to the last. It folds nothing: it leaves out all other records, loads no row, and keeps its place in Kafka, behind the
// rows.
//
// Chosen in its favour where there was a choice:
// - One statement per batch (`dialect.postgres.unnest.insert.enabled`), which the connector does not do by itself.
// - Batches of 2,000; the consumer, whose 500 would be the size of each, hands over as many at once.
// - Two tasks: on two cores more are slower.
// - A converter of its own (OrderConverter.java) that makes flat rows in one step.

import static java.util.stream.Collectors.toMap;

import java.io.File;
import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.connect.cli.ConnectStandalone;
import org.apache.kafka.connect.runtime.Connect;
import org.apache.kafka.connect.runtime.Herder;
import org.apache.kafka.connect.runtime.rest.entities.ConnectorInfo;
import org.apache.kafka.connect.runtime.standalone.StandaloneHerder;
import org.apache.kafka.connect.util.FutureCallback;

public class JdbcSink {
    static final String TABLE = """
            CREATE TABLE order_detail (
                id           text   PRIMARY KEY,
                customer_id  text   NOT NULL,
                status       text   NOT NULL,
                lines        text   NOT NULL,
                total_amount bigint NOT NULL,
                currency     text   NOT NULL,
                placed_at    bigint NOT NULL,
                version      bigint NOT NULL
            )""";

    public static void main(String[] arguments) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            given.put(arguments[at], arguments[at + 1]);
        }
        String kafka = given.get("--kafka");
        String topic = given.get("--topic");
        URI place = URI.create(given.get("--postgres"));
        String[] user = (place.getUserInfo() + ":").split(":", 3);
        String url = "jdbc:postgresql://" + place.getHost() + ":" + place.getPort() + place.getPath()
                + "?options=-c%20synchronous_commit=off";
        try (Connection postgres = DriverManager.getConnection(url, user[0], user[1])) {
            query(postgres, TABLE);
            Placed placed = placed(kafka, topic);
            Connect<StandaloneHerder> worker = start(kafka, given.get("--registry"), topic, url, user);
            double seconds = watch(worker.herder(), topic, postgres, placed.last());
            worker.stop();
            worker.awaitStop();
            long rows = query(postgres, "SELECT count(*) FROM order_detail");
            if (rows != placed.count()) {
                throw new IllegalStateException(rows + " rows of " + placed.count() + " orders");
            }
            System.out.println("{\"seconds\":" + seconds + "}");
        } catch (Exception error) {
            error.printStackTrace();
            // Threads of the worker may live.
            System.exit(1);
        }
    }

    /** How many orders were placed, and the id of the last one in each partition. */
    record Placed(long count, List<String> last) {}

    static Placed placed(String kafka, String topic) {
        Map<String, Object> config = Map.of("bootstrap.servers", kafka, "max.poll.records", 10_000);
        Map<Integer, String> last = new HashMap<>();
        long count = 0;
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new ByteArrayDeserializer())) {
            var partitions =
                    consumer.partitionsFor(topic).stream().map(of -> new TopicPartition(topic, of.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(of -> consumer.position(of) < ends.get(of))) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    if (OrderConverter.isPlaced(record.headers())) {
                        last.put(record.partition(), record.key());
                        count += 1;
                    }
                }
            }
        }
        return new Placed(count, List.copyOf(last.values()));
    }

    static Connect<StandaloneHerder> start(
            String kafka, String registry, String topic, String url, String[] user) throws Exception {
        File offsets = File.createTempFile(topic, "offsets");
        offsets.deleteOnExit();
        Connect<StandaloneHerder> worker = new ConnectStandalone().startConnect(settings("""
                bootstrap.servers=%s
                listeners=http://127.0.0.1:0
                plugin.discovery=service_load
                offset.storage.file.filename=%s
                key.converter=org.apache.kafka.connect.storage.StringConverter
                value.converter=OrderConverter
                value.converter.registry=%s
                consumer.max.poll.records=2000
                """.formatted(kafka, offsets, registry)));
        var started = new FutureCallback<Herder.Created<ConnectorInfo>>();
        worker.herder().putConnectorConfig(topic, settings("""
                name=%1$s
                topics=%1$s
                connector.class=io.debezium.connector.jdbc.JdbcSinkConnector
                tasks.max=2
                connection.url=%2$s
                connection.username=%3$s
                connection.password=%4$s
                collection.name.format=order_detail
                insert.mode=upsert
                primary.key.mode=record_value
                primary.key.fields=id
                dialect.postgres.unnest.insert.enabled=true
                batch.size=2000
                """.formatted(topic, url, user[0], user[1])), false, started);
        started.get();
        return worker;
    }

    static Map<String, String> settings(String lines) {
        return lines.lines().map(line -> line.split("=", 2)).collect(toMap(pair -> pair[0], pair -> pair[1]));
    }

    /** Seconds from the first row to the last: a partition is written in its order, so that its last row stands for all. */
    static double watch(StandaloneHerder herder, String connector, Connection postgres, List<String> last) throws Exception {
        while (query(postgres, "SELECT count(*) FROM (SELECT FROM order_detail LIMIT 1) AS first") == 0) {
            pause(herder, connector);
        }
        long first = System.nanoTime();
        String ids = String.join("','", last);
        while (query(postgres, "SELECT count(*) FROM order_detail WHERE id IN ('" + ids + "')") < last.size()) {
            pause(herder, connector);
        }
        return (System.nanoTime() - first) / 1e9;
    }

    /** A task that failed would be told by the log alone. */
    static void pause(StandaloneHerder herder, String connector) throws Exception {
        Thread.sleep(5);
        for (var task : herder.connectorStatus(connector).tasks()) {
            if (task.state().equals("FAILED")) {
                throw new IllegalStateException(task.trace());
            }
        }
    }

    /** The first number of the answer, if there is one. */
    static long query(Connection postgres, String text) throws SQLException {
        try (Statement statement = postgres.createStatement()) {
            if (!statement.execute(text)) {
                return 0;
            }
            ResultSet rows = statement.getResultSet();
            rows.next();
            return rows.getLong(1);
        }
    }
}
