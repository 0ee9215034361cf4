package trestle.compat.connect;

import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import trestle.compat.Harness;

/** A Connect worker or MirrorMaker 2, in a process of its own, as people start them. */
final class Worker implements AutoCloseable {
    private static final int STARTS_S = 90;
    private static final int STOPS_S = 60;

    private final String main;
    private final Path settings;
    private final Path log;
    private Process process;

    /** `main` is its class; `settings` go to a file in `home`. */
    Worker(String main, Path home, Map<String, Object> settings) throws IOException {
        this.main = main;
        this.settings = home.resolve("worker.properties");
        log = home.resolve("worker.log");
        List<String> lines = new ArrayList<>();
        settings.forEach((name, value) -> lines.add(name + "=" + value));
        Files.write(this.settings, lines);
        start();
    }

    void start() throws IOException {
        process = new ProcessBuilder("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", System.getProperty("java.class.path"), main, settings.toString())
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()))
                .start();
    }

    /** As an administrator does: SIGTERM and wait. */
    void stop() throws Exception {
        process.destroy();
        if (!process.waitFor(STOPS_S, TimeUnit.SECONDS)) {
            process.destroyForcibly().waitFor();
            throw new AssertionError("the worker did not stop within " + STOPS_S + " s; " + said());
        }
    }

    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** Waits for something that the worker brings about. */
    void brings(String what, int seconds, Harness.Condition condition) throws Exception {
        Harness.waitFor(() -> what + "; " + said(), seconds, () -> {
            if (!process.isAlive()) {
                throw new AssertionError("the worker ended by itself; " + said());
            }
            return condition.holds();
        });
    }

    private String said() {
        try {
            List<String> lines = Files.readAllLines(log);
            List<String> errors = lines.stream().filter(line -> line.contains("ERROR")).toList();
            List<String> shown = errors.isEmpty() ? lines : errors;
            return "it said " + shown.subList(Math.max(0, shown.size() - 3), shown.size());
        } catch (IOException e) {
            return "it said nothing";
        }
    }

    @Override
    public void close() throws InterruptedException {
        kill();
    }

    /** A port that nobody listens on just now. */
    static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    /** The REST interface of a Connect worker. */
    static final class Rest {
        private final HttpClient http = HttpClient.newHttpClient();
        private final Worker worker;
        private final String address;

        Rest(Worker worker, int port) {
            this.worker = worker;
            address = "http://127.0.0.1:" + port;
        }

        /** Status and body; status 0 while nobody listens. */
        HttpResponse<String> send(String method, String path, String body) throws Exception {
            HttpRequest.BodyPublisher publisher = body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body);
            HttpRequest request = HttpRequest.newBuilder(URI.create(address + path)).header("Content-Type", "application/json").method(method, publisher).build();
            return http.send(request, HttpResponse.BodyHandlers.ofString());
        }

        /** Waits until the worker has read its topics and takes requests. */
        void ready() throws Exception {
            worker.brings("the worker answers", STARTS_S, () -> {
                try {
                    return send("GET", "/connectors", null).statusCode() == 200;
                } catch (IOException e) {
                    return false;
                }
            });
        }

        /** While the workers agree on who does what, requests are refused with 409: they are sent again. */
        void change(String method, String path, String body) throws Exception {
            worker.brings(method + " " + path, 60, () -> {
                HttpResponse<String> answer = send(method, path, body);
                if (answer.statusCode() >= 400 && answer.statusCode() != 409 && answer.statusCode() != 404) {
                    throw new AssertionError(method + " " + path + ": " + answer.statusCode() + " " + answer.body());
                }
                return answer.statusCode() < 300;
            });
        }

        void running(String connector) throws Exception {
            String[] last = {""};
            worker.brings("connector " + connector + " runs", 60, () -> {
                last[0] = send("GET", "/connectors/" + connector + "/status", null).body();
                return last[0].split("\"RUNNING\"", -1).length == 3;
            });
        }
    }
}
