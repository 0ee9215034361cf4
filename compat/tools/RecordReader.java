package org.apache.kafka.tools.api;

import java.io.Closeable;
import java.io.InputStream;
import java.util.Iterator;
import java.util.Map;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Configurable;

/** What the console producer reads records with. The jar that has it is not at Maven Central for every release. */
public interface RecordReader extends Closeable, Configurable {
    @Override
    default void configure(Map<String, ?> settings) {
    }

    /** The records in what was typed. */
    Iterator<ProducerRecord<byte[], byte[]>> readRecords(InputStream typed);

    @Override
    default void close() {
    }
}
