import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line programs one after another in one JVM, for starting one costs a second or two
 * of processor time. A line of JSON asks, {"main": CLASS, "args": [...], "stdin": TEXT}; a line answers,
 * {"code": EXIT CODE, "out": TEXT}. Standard output and standard error go to the same text, as on a terminal.
 */
public class Shell {
    private static final long LIMIT_MS = 60_000;

    /** Programs may keep the stream that they find: it stays the same, and what it writes to changes. */
    private static final class Switch extends OutputStream {
        private volatile ByteArrayOutputStream to = new ByteArrayOutputStream();
        private volatile boolean ended;

        @Override
        public synchronized void write(int b) {
            if (!ended) {
                to.write(b);
            }
        }

        @Override
        public synchronized void write(byte[] bytes, int from, int length) {
            if (!ended) {
                to.write(bytes, from, length);
            }
        }
    }

    private static final class Ended extends Error {
        private Ended() {
            super(null, null, false, false);
        }
    }

    /** What the program that runs now has ended with; null while it has not. */
    private static volatile Integer ended;

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        InputStream requests = System.in;
        Switch output = new Switch();
        PrintStream captured = new PrintStream(output, true, StandardCharsets.UTF_8);
        System.setOut(captured);
        System.setErr(captured);
        // Where a process would end, an error unwinds the thread. Programs may catch it, say so, and end
        // once more: only the first end counts, and nothing is heard after it.
        Exit.Procedure end = (code, message) -> {
            if (ended == null) {
                ended = code;
                captured.flush();
                output.ended = true;
            }
            throw new Ended();
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        ObjectMapper json = new ObjectMapper();
        BufferedReader lines = new BufferedReader(new InputStreamReader(requests, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode request = json.readTree(line);
            List<String> words = new ArrayList<>();
            request.get("args").forEach(word -> words.add(word.asText()));
            ended = null;
            output.ended = false;
            output.to = new ByteArrayOutputStream();
            byte[] typed = request.get("stdin").asText().getBytes(StandardCharsets.UTF_8);
            System.setIn(new ByteArrayInputStream(typed));
            int code = run(request.get("main").asText(), words.toArray(new String[0]));
            captured.flush();
            String text = output.to.toString(StandardCharsets.UTF_8);
            answers.println(json.writeValueAsString(Map.of("code", code, "out", text)));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static int run(String main, String[] words) throws Exception {
        Thread thread = new Thread(() -> {
            try {
                Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) words);
            } catch (Throwable thrown) {
                if (ended == null) {
                    thrown.printStackTrace();
                    ended = 1;
                }
            }
        });
        thread.start();
        thread.join(LIMIT_MS);
        if (thread.isAlive()) {
            System.err.println("no end within " + LIMIT_MS + " ms");
            return -1;
        }
        return ended == null ? 0 : ended;
    }
}
