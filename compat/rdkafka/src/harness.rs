//! What every scenario needs: the control line to the runner, fresh topics, one JSON line each.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// A note for the report, or what went wrong.
pub type Outcome = Result<String, Box<dyn Error>>;

/// The client cannot do this at all.
#[derive(Debug)]
pub struct NotAvailable(pub &'static str);

impl std::fmt::Display for NotAvailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for NotAvailable {}

/// What the client says when something is wrong, by case: see `compat/runner/said.py`.
static SAID: Mutex<Option<Value>> = Mutex::new(None);

/// The outcome of a scenario that shows what the client says.
pub fn said(cases: &[(&str, String)]) -> Outcome {
    let cases = cases
        .iter()
        .map(|(case, text)| ((*case).to_owned(), json!(text)));
    *SAID.lock().expect("no panic under this lock") = Some(Value::Object(cases.collect()));
    Ok(String::new())
}

/// The client cannot do it at all.
pub fn none(why: &'static str) -> Outcome {
    Err(NotAvailable(why).into())
}

/// Waits until a condition holds.
pub fn wait_for(
    what: &str,
    mut condition: impl FnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let against_kafka = std::env::var("COMPAT_AGAINST").is_ok_and(|kind| kind == "kafka");
    let deadline = Instant::now() + Duration::from_secs(if against_kafka { 180 } else { 60 });
    while !condition()? {
        if Instant::now() > deadline {
            return Err(format!("{what}: not in time").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The name of a scenario in `scenarios.txt`, and what does it.
pub type Scenario = (&'static str, fn() -> Outcome);

/// Where the broker is.
pub fn bootstrap() -> String {
    std::env::var("COMPAT_BOOTSTRAP").expect("compat/run sets COMPAT_BOOTSTRAP")
}

/// Asks the runner for something (see `compat/runner/control.py`) and answers what it said.
pub fn control(request: &str) -> Result<Value, Box<dyn Error>> {
    let address = std::env::var("COMPAT_CONTROL")?;
    let mut stream = TcpStream::connect(address)?;
    writeln!(stream, "{request}")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let mut answer: Value = serde_json::from_str(&line)?;
    match answer.get("error") {
        Some(error) => Err(format!("{request}: {error}").into()),
        None => Ok(answer["ok"].take()),
    }
}

/// A topic name that nobody used before.
pub fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_nanos();
    format!("compat-{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Creates a topic with a fresh name.
pub fn new_topic(partitions: i32) -> Result<String, Box<dyn Error>> {
    let name = fresh_name();
    control(&format!("create {name} {partitions}"))?;
    Ok(name)
}

/// An assertion that says what differs without printing a megabyte.
pub fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    actual: T,
    wanted: T,
) -> Result<(), Box<dyn Error>> {
    if actual == wanted {
        return Ok(());
    }
    let short = |value: &T| format!("{value:?}").chars().take(300).collect::<String>();
    Err(format!("{what}: got {}, wanted {}", short(&actual), short(&wanted)).into())
}

/// Runs the wanted scenarios in order and prints a line for each.
pub fn run<'a>(client: &str, version: &str, scenarios: impl Iterator<Item = &'a Scenario>) {
    let wanted = std::env::var("COMPAT_SCENARIOS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    for (name, scenario) in scenarios {
        if !wanted.is_empty() && !wanted.contains(name) {
            continue;
        }
        let began = Instant::now();
        let (result, note) = match catch_unwind(AssertUnwindSafe(scenario)) {
            Ok(Ok(note)) => ("pass", note),
            Ok(Err(error)) if error.is::<NotAvailable>() => ("n/a", error.to_string()),
            Ok(Err(error)) => ("fail", error.to_string()),
            Err(_) => (
                "fail",
                "the scenario panicked, see standard error".to_owned(),
            ),
        };
        let ms = began.elapsed().as_millis();
        let mut line = json!({"client": client, "version": version, "scenario": name, "result": result, "ms": ms, "note": note});
        if let Some(said) = SAID.lock().expect("no panic under this lock").take() {
            line["said"] = said;
        }
        println!("{line}");
    }
}
