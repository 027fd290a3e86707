import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.storage.Converter;

/**
 * An order that was placed as a row of {@code order_detail}; whatever else stands in the topic as no row. Confluent's converter is
 * not on Maven Central, and would give nested values, for which the sink has no columns; so Avro's own reader is used.
 */
public class OrderConverter implements Converter {
    static final String PLACED = "lonja.order.OrderPlaced";
    private static final int FRAMING_BYTES = 5;
    private static final Schema ROW = SchemaBuilder.struct()
            .field("id", Schema.STRING_SCHEMA)
            .field("customer_id", Schema.STRING_SCHEMA)
            .field("status", Schema.STRING_SCHEMA)
            .field("lines", Schema.STRING_SCHEMA)
            .field("total_amount", Schema.INT64_SCHEMA)
            .field("currency", Schema.STRING_SCHEMA)
            .field("placed_at", Schema.INT64_SCHEMA)
            .field("version", Schema.INT64_SCHEMA)
            .build();

    private final Map<Integer, GenericDatumReader<GenericRecord>> readers = new HashMap<>();
    private String registry;
    private GenericRecord record;
    private BinaryDecoder decoder;

    @Override
    public void configure(Map<String, ?> settings, boolean isKey) {
        registry = (String) settings.get("registry");
    }

    /** Whether a record with these headers is an order that was placed. */
    static boolean isPlaced(Headers headers) {
        var type = headers.lastHeader("ce_type");
        return type != null && PLACED.equals(new String(type.value(), StandardCharsets.UTF_8));
    }

    @Override
    public SchemaAndValue toConnectData(String topic, Headers headers, byte[] value) {
        if (!isPlaced(headers)) {
            return SchemaAndValue.NULL;
        }
        try {
            var reader = readers.computeIfAbsent(ByteBuffer.wrap(value).getInt(1), this::reader);
            decoder = DecoderFactory.get().binaryDecoder(value, FRAMING_BYTES, value.length - FRAMING_BYTES, decoder);
            record = reader.read(record, decoder);
        } catch (IOException error) {
            throw new SerializationException("reading a record failed", error);
        }
        Struct row = new Struct(ROW)
                .put("id", record.get("order_id").toString())
                .put("customer_id", record.get("customer_id").toString())
                .put("status", "placed")
                .put("lines", record.get("lines").toString())
                .put("total_amount", record.get("total"))
                .put("currency", record.get("currency").toString())
                .put("placed_at", record.get("placed_at"))
                .put("version", 1L);
        return new SchemaAndValue(ROW, row);
    }

    private GenericDatumReader<GenericRecord> reader(int id) {
        var request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id + "/schema")).build();
        try {
            var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
            return new GenericDatumReader<>(new org.apache.avro.Schema.Parser().parse(answer.body()));
        } catch (IOException | InterruptedException error) {
            throw new SerializationException("asking for schema " + id + " failed", error);
        }
    }

    @Override
    public SchemaAndValue toConnectData(String topic, byte[] value) {
        throw new SerializationException("the headers say what a record is");
    }

    @Override
    public byte[] fromConnectData(String topic, Schema schema, Object value) {
        throw new SerializationException("nothing is written");
    }
}
