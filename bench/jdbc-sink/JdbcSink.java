// The Kafka Connect peer of `cargo xtask bench replay`: `--replay N` writes N flat records, which hold what Lonja's table
// `order_detail` does, into a topic of 12 partitions, and Debezium's JDBC sink connector in a standalone Connect worker upserts
// them into a table, with `synchronous_commit` off as Lonja has it for views. The seconds are those from the first row that is
// visible to the last. It folds nothing, loads no row, and keeps its place in Kafka, behind the rows.
//
// Chosen in its favour where there was a choice:
// - One statement per batch (`dialect.postgres.unnest.insert.enabled`), which the connector does not do by itself.
// - Batches of 2,000; the consumer, whose 500 would be the size of each, hands over as many at once.
// - Two tasks: on two cores more are slower.
// - JSON whose schema stands in the configuration instead of in each record.

import static java.util.stream.Collectors.toMap;

import java.io.File;
import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.connect.cli.ConnectStandalone;
import org.apache.kafka.connect.runtime.Connect;
import org.apache.kafka.connect.runtime.Herder;
import org.apache.kafka.connect.runtime.rest.entities.ConnectorInfo;
import org.apache.kafka.connect.runtime.standalone.StandaloneHerder;
import org.apache.kafka.connect.util.FutureCallback;

public class JdbcSink {
    static final int PARTITIONS = 12;
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
    static final String SCHEMA = """
            {"type":"struct","fields":[\
            {"field":"id","type":"string"},{"field":"customer_id","type":"string"},{"field":"status","type":"string"},\
            {"field":"lines","type":"string"},{"field":"total_amount","type":"int64"},{"field":"currency","type":"string"},\
            {"field":"placed_at","type":"int64"},{"field":"version","type":"int64"}]}""";
    static final String LINES = """
            [{"sku":"tea-assam-250","quantity":2,"unit_price":749},\
            {"sku":"cup-stoneware-03","quantity":1,"unit_price":1290},\
            {"sku":"honey-heather-500","quantity":3,"unit_price":885}]""";

    public static void main(String[] arguments) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            given.put(arguments[at], arguments[at + 1]);
        }
        String kafka = given.get("--kafka");
        long events = Long.parseLong(given.get("--replay"));
        URI place = URI.create(given.get("--postgres"));
        String[] user = (place.getUserInfo() + ":").split(":", 3);
        String url = "jdbc:postgresql://" + place.getHost() + ":" + place.getPort() + place.getPath()
                + "?options=-c%20synchronous_commit=off";
        String topic = "jdbc-sink-peer-" + UUID.randomUUID();
        try (Connection postgres = DriverManager.getConnection(url, user[0], user[1]);
                Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", kafka))) {
            query(postgres, TABLE);
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(PARTITIONS), Optional.empty()))).all().get();
            try {
                List<String> last = fill(kafka, topic, events);
                Connect<StandaloneHerder> worker = start(kafka, topic, url, user);
                double seconds = watch(worker.herder(), topic, postgres, last);
                worker.stop();
                worker.awaitStop();
                long rows = query(postgres, "SELECT count(*) FROM order_detail");
                if (rows != events) {
                    throw new IllegalStateException(rows + " rows of " + events + " events");
                }
                System.out.println("{\"seconds\":" + seconds + "}");
            } finally {
                admin.deleteTopics(List.of(topic)).all().get();
            }
        } catch (Exception error) {
            error.printStackTrace();
            // Threads of the worker may live.
            System.exit(1);
        }
    }

    /** Writes the records. Returns the id of the last one in each partition. */
    static List<String> fill(String kafka, String topic, long events) throws Exception {
        Map<String, Object> config =
                Map.of("bootstrap.servers", kafka, "linger.ms", 20, "batch.size", 262_144, "compression.type", "lz4");
        Map<Integer, String> last = new HashMap<>();
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (long number = 1; number <= events; number++) {
                String id = UUID.randomUUID().toString();
                String value = """
                        {"id":"%s","customer_id":"customer-%07d","status":"placed","lines":"%s","total_amount":5443,\
                        "currency":"EUR","placed_at":%d,"version":1}"""
                        .formatted(id, number, LINES.replace("\"", "\\\""), System.currentTimeMillis());
                // One thread calls back, in the order of each partition.
                producer.send(new ProducerRecord<>(topic, id, value), (written, error) -> {
                    if (error == null) {
                        last.put(written.partition(), id);
                    } else {
                        failed.set(error);
                    }
                });
            }
        }
        if (failed.get() != null) {
            throw failed.get();
        }
        return List.copyOf(last.values());
    }

    static Connect<StandaloneHerder> start(String kafka, String topic, String url, String[] user) throws Exception {
        File offsets = File.createTempFile(topic, "offsets");
        offsets.deleteOnExit();
        Connect<StandaloneHerder> worker = new ConnectStandalone().startConnect(settings("""
                bootstrap.servers=%s
                listeners=http://127.0.0.1:0
                plugin.discovery=service_load
                offset.storage.file.filename=%s
                key.converter=org.apache.kafka.connect.storage.StringConverter
                value.converter=org.apache.kafka.connect.json.JsonConverter
                value.converter.schema.content=%s
                consumer.max.poll.records=2000
                """.formatted(kafka, offsets, SCHEMA)));
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
