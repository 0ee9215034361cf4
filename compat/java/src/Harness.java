package trestle.compat;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/** What every scenario needs: the control line to the runner, fresh topics, one JSON line each. */
public final class Harness {
    public static final String BOOTSTRAP = System.getenv("COMPAT_BOOTSTRAP");
    /** How long scenarios go on that go on for a time. */
    public static final int SECONDS = Integer.parseInt(System.getenv().getOrDefault("COMPAT_SECONDS", "15"));
    private static final int LIMIT_S = Integer.parseInt(System.getenv().getOrDefault("COMPAT_LIMIT", "120"));

    private Harness() {}

    public interface Body {
        String run() throws Exception;
    }

    public interface Condition {
        boolean holds() throws Exception;
    }

    public record Scenario(String name, Body body) {}

    private static final Map<String, String> SAID = Collections.synchronizedMap(new LinkedHashMap<>());

    /** What the client says when something is wrong: see compat/runner/said.py. */
    public static void said(String what, String text) {
        SAID.put(what, text);
    }

    /** The client cannot do this at all. */
    public static final class NotAvailable extends Exception {
        public NotAvailable(String why) {
            super(why);
        }
    }

    /** Asks the runner for something (see compat/runner/control.py) and answers the JSON that it said. */
    public static String control(Object... words) throws Exception {
        String address = System.getenv("COMPAT_CONTROL");
        int colon = address.lastIndexOf(':');
        try (Socket socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)))) {
            StringBuilder line = new StringBuilder();
            for (Object word : words) {
                line.append(line.length() == 0 ? "" : " ").append(word);
            }
            new PrintStream(socket.getOutputStream(), true, StandardCharsets.UTF_8).print(line + "\n");
            String answer = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8)).readLine();
            if (answer == null || answer.startsWith("{\"error\"")) {
                throw new AssertionError(line + ": " + answer);
            }
            return answer;
        }
    }

    public static String freshName(String kind) {
        return kind + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    public static String newTopic(int partitions) throws Exception {
        String name = freshName("compat");
        control("create", name, partitions);
        return name;
    }

    /** An assertion that says what differs without printing a megabyte. */
    public static void expect(String what, Object actual, Object wanted) {
        if (!Objects.deepEquals(actual, wanted)) {
            throw new AssertionError(what + ": got " + brief(actual) + ", wanted " + brief(wanted));
        }
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 300 ? text : text.substring(0, 300) + "...";
    }

    public static void waitFor(Supplier<String> what, int seconds, Condition condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (!condition.holds()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError(what.get() + ": not within " + seconds + " s");
            }
            Thread.sleep(10);
        }
    }

    static void run(String client, String version, List<Scenario> scenarios) throws Exception {
        Set<String> wanted = new HashSet<>(Arrays.asList(System.getenv().getOrDefault("COMPAT_SCENARIOS", "").trim().split("\\s+")));
        for (Scenario scenario : scenarios) {
            if (!wanted.contains("") && !wanted.contains(scenario.name())) {
                continue;
            }
            long began = System.nanoTime();
            SAID.clear();
            String result = "pass";
            String note;
            CompletableFuture<String> outcome = new CompletableFuture<>();
            Thread thread = new Thread(() -> {
                try {
                    outcome.complete(scenario.body().run());
                } catch (Throwable e) {
                    outcome.completeExceptionally(e);
                }
            });
            thread.setDaemon(true);
            thread.start();
            boolean goesOn = scenario.name().equals("eos.chain") || scenario.name().startsWith("streams");
            // Workers are processes of their own, which start several times.
            boolean starts = scenario.name().startsWith("connect") || scenario.name().startsWith("mirror");
            int limit = LIMIT_S + (goesOn ? 2 * SECONDS : 0) + (starts ? LIMIT_S : 0);
            try {
                note = outcome.get(limit, TimeUnit.SECONDS);
            } catch (TimeoutException e) {
                result = "fail";
                note = "it did not end within " + limit + " s";
            } catch (ExecutionException e) {
                result = e.getCause() instanceof NotAvailable ? "n/a" : "fail";
                note = e.getCause() instanceof NotAvailable || e.getCause() instanceof AssertionError ? e.getCause().getMessage() : e.getCause().toString();
                if (System.getenv("COMPAT_TRACE") != null) {
                    e.getCause().printStackTrace();
                }
            }
            long ms = (System.nanoTime() - began) / 1_000_000;
            String said = SAID.entrySet().stream().map(e -> json(e.getKey()) + ": " + json(e.getValue())).collect(Collectors.joining(", "));
            System.out.println("{\"client\": " + json(client) + ", \"version\": " + json(version) + ", \"scenario\": " + json(scenario.name())
                    + ", \"result\": " + json(result) + ", \"ms\": " + ms + ", \"note\": " + json(note) + (said.isEmpty() ? "" : ", \"said\": {" + said + "}") + "}");
            System.out.flush();
        }
        // Threads of clients that a failed scenario left behind end with the process.
        Runtime.getRuntime().halt(0);
    }

    private static String json(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ') {
                quoted.append(' ');
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
