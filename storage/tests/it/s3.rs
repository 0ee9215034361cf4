//! The store on a real S3 server: `compat/s3/start` starts one and sets the variables.
//!
//! They are ignored without it, which `cargo test` says; with it, run
//! `cargo test -p trestle-storage --test it s3:: -- --ignored`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::clock;

const BUCKET: &str = "trestle-test";
/// A step that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn endpoint() -> Result<String> {
    std::env::var("TRESTLE_TEST_S3_ENDPOINT")
        .context("TRESTLE_TEST_S3_ENDPOINT is not set; eval \"$(compat/s3/start)\" sets it")
}

/// A process that runs a test of `s3_child`.
struct Step {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Step {
    fn start(step: &str, url: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "--exact",
                &format!("s3_child::{step}"),
                "--ignored",
                "--nocapture",
            ])
            .env("TRESTLE_TEST_S3_URL", url)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("it is piped")?;
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
                let _ = said.send(line);
            }
        });
        Ok(Self { child, lines })
    }

    /// The next line that starts with `start`.
    fn line(&mut self, start: &str) -> Result<String> {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .with_context(|| format!("it never said {start:?}"))?;
            if line.starts_with(start) {
                return Ok(line);
            }
        }
    }

    fn succeed(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let mut output = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => output = output + &line + "\n",
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => anyhow::bail!("it hangs: {output}"),
            }
        }
        ensure!(self.child.wait()?.success(), "{output}");
        ensure!(output.contains("1 passed"), "it did not run: {output}");
        Ok(())
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A place in the bucket for one test.
fn url(test: &str) -> String {
    format!("s3://{BUCKET}/{test}-{}", std::process::id())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: eval \"$(compat/s3/start)\""]
async fn what_was_appended_is_there_after_reopening() -> Result<()> {
    Step::start(
        "append_and_reopen",
        &url("reopen"),
        &[("AWS_ENDPOINT_URL", &endpoint()?)],
    )?
    .succeed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: eval \"$(compat/s3/start)\""]
async fn a_second_writer_fences_the_first() -> Result<()> {
    let endpoint = endpoint()?;
    let variables = [("AWS_ENDPOINT_URL", &*endpoint)];
    Step::start("second_writer_fences_the_first", &url("fence"), &variables)?.succeed()
}

/// Opens with `variables` and returns the error, which has to come within 10 s.
fn refusal(url: &str, variables: &[(&str, &str)]) -> Result<String> {
    let mut step = Step::start("open_is_refused", url, variables)?;
    let line = step.line("refused after ")?;
    let (ms, error) = line
        .strip_prefix("refused after ")
        .and_then(|rest| rest.split_once(" ms: "))
        .context("the line of open_is_refused")?;
    ensure!(ms.parse::<u64>()? < 10_000, "{line}");
    let error = error.to_owned();
    step.succeed()?;
    Ok(error)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: eval \"$(compat/s3/start)\""]
async fn a_bucket_that_cannot_be_used_is_named_within_ten_seconds() -> Result<()> {
    let endpoint = endpoint()?;
    let good = ("AWS_ENDPOINT_URL", &*endpoint);

    let error = refusal("s3://no-such-bucket/x", &[good])?;
    ensure!(
        error.contains("s3://no-such-bucket/x") && error.contains("the bucket does not exist"),
        "{error}"
    );

    let error = refusal(&url("secret"), &[good, ("AWS_SECRET_ACCESS_KEY", "wrong")])?;
    ensure!(
        error.contains("the credentials are refused; set AWS_ACCESS_KEY_ID"),
        "{error}"
    );

    let error = refusal(&url("key"), &[good, ("AWS_ACCESS_KEY_ID", "nobody")])?;
    ensure!(
        error.contains("AWS_ACCESS_KEY_ID") && error.contains("No user exists"),
        "{error}"
    );

    // Nobody listens there.
    let error = refusal(
        &url("nobody"),
        &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")],
    )?;
    ensure!(error.contains("http://127.0.0.1:1"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_named_within_ten_seconds() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", silent.local_addr()?);
    let error = refusal(
        &url("silent"),
        &[("AWS_ENDPOINT_URL", &endpoint), KEY, SECRET],
    )?;
    ensure!(
        error.contains(&format!("{endpoint} does not answer within 8 s")),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_conditional_writes_is_refused() -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", server.local_addr()?);
    let yes = tokio::spawn(async move {
        loop {
            let Ok((mut connection, _)) = server.accept().await else {
                return;
            };
            tokio::spawn(async move {
                // Says yes to whatever is asked.
                let mut buffer = vec![0; 64 << 10];
                while connection
                    .read(&mut buffer)
                    .await
                    .is_ok_and(|read| read > 0)
                {
                    let answer = b"HTTP/1.1 200 OK\r\nETag: \"0\"\r\nContent-Length: 0\r\n\r\n";
                    if connection.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let error = refusal(&url("yes"), &[("AWS_ENDPOINT_URL", &endpoint), KEY, SECRET])?;
    ensure!(
        error.contains("the server ignores If-None-Match"),
        "{error}"
    );
    yes.abort();
    Ok(())
}

const KEY: (&str, &str) = ("AWS_ACCESS_KEY_ID", "somebody");
const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "something");

/// Stands before the server and counts requests by method.
struct Counter {
    endpoint: String,
    requests: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Counter {
    async fn start() -> Result<Self> {
        let server = endpoint()?.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = requests.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, counted) = (server.clone(), counted.clone());
                tokio::spawn(async move { relay(client, &server, &counted).await });
            }
        });
        Ok(Self { endpoint, requests })
    }

    fn count(&self, method: &str) -> u64 {
        self.requests.lock().get(method).copied().unwrap_or(0)
    }

    fn all(&self) -> u64 {
        self.requests.lock().values().sum()
    }
}

async fn relay(
    client: TcpStream,
    server: &str,
    counted: &Mutex<BTreeMap<String, u64>>,
) -> Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    let answers =
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 << 10];
    let mut line = Vec::new();
    loop {
        let read = from_client.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        for &byte in &buffer[..read] {
            if byte != b'\n' {
                // A body has no line break at its end: a request line stands at the end of a line.
                if line.len() == 8192 {
                    line.drain(..4096);
                }
                line.push(byte);
                continue;
            }
            if let Some(request) = line.strip_suffix(b" HTTP/1.1\r") {
                let methods = ["GET /", "PUT /", "POST /", "HEAD /", "DELETE /"];
                let request = String::from_utf8_lossy(request).into_owned();
                let method = methods
                    .iter()
                    .filter_map(|m| request.rfind(m).map(|at| (at, m)))
                    .max();
                if let Some((at, method)) = method {
                    *counted
                        .lock()
                        .entry(method.trim_end_matches(" /").to_owned())
                        .or_default() += 1;
                    if std::env::var_os("TRESTLE_TEST_S3_TRACE").is_some() {
                        eprintln!("{}", &request[at..]);
                    }
                }
            }
            line.clear();
        }
        to_server.write_all(&buffer[..read]).await?;
    }
    drop(to_server);
    let _ = answers.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: eval \"$(compat/s3/start)\""]
async fn an_idle_store_asks_for_next_to_nothing() -> Result<()> {
    let counter = Counter::start().await?;
    let variables = [("AWS_ENDPOINT_URL", &*counter.endpoint)];
    let mut step = Step::start("idle", &url("idle"), &variables)?;
    step.line("settled")?;
    let before = counter.all();
    // An hour by the clock of the store.
    clock().sleep(Duration::from_secs(60)).await;
    let requests = counter.all() - before;
    println!("{requests} requests in an idle hour, {before} before");
    ensure!(requests > 0, "it is not even counted");
    ensure!(requests < 300, "{requests} requests in an idle hour");
    step.succeed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: eval \"$(compat/s3/start)\""]
async fn a_megabyte_a_second_costs_few_puts() -> Result<()> {
    let counter = Counter::start().await?;
    let variables = [("AWS_ENDPOINT_URL", &*counter.endpoint)];
    let mut step = Step::start("megabyte_a_second", &url("megabyte"), &variables)?;
    step.line("started")?;
    let at_start = counter.count("PUT");
    let finished = step.line("finished")?;
    let puts = counter.count("PUT") - at_start;
    println!("{puts} PUTs for 10 MB; {finished}");
    let ms = finished
        .trim_start_matches("finished ")
        .split_once(" ms")
        .and_then(|(ms, _)| ms.parse::<u64>().ok())
        .context("the line of megabyte_a_second")?;
    ensure!(puts * 1000 < 12 * ms, "{puts} PUTs in {ms} ms");
    step.succeed()
}
