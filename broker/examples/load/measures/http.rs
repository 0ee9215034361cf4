//! The log database over HTTP: appends that wait until they are durable, and followers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Bench;
use crate::report::{Latencies, Report, Target};

const WITH_HTTP: [&str; 4] = ["--http", "127.0.0.1:0", "--fsync", "false"];
const CONNECTIONS: usize = 64;
const FOLLOWERS: usize = 1000;

/// A connection that is kept.
struct Http {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Http {
    async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            line: String::new(),
            body: Vec::new(),
        })
    }

    /// Reads the head of an answer: the length of its body, if it has one.
    async fn head(&mut self) -> Result<Option<usize>> {
        let mut length = None;
        for at in 0.. {
            self.line.clear();
            if self.stream.read_line(&mut self.line).await? == 0 {
                bail!("the broker closed the connection");
            }
            let line = self.line.trim_end();
            if at == 0 && !line.contains(" 200 ") {
                bail!("{line}");
            }
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse()?);
            }
        }
        Ok(length)
    }

    async fn call(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        let length = self.head().await?.context("a length")?;
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).await?;
        Ok(())
    }

    /// The next line of a stream.
    async fn next_line(&mut self) -> Result<()> {
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line).await? == 0 {
                bail!("the broker closed the connection");
            }
            // Sizes of chunks and signs of life are no records.
            if self.line.starts_with('{') {
                return Ok(());
            }
        }
    }
}

/// An append of one record in protocol buffers, durable.
fn append_request(key: &str, value: &[u8]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(bytes);
        out
    };
    let record = [field(1, key.as_bytes()), field(2, value)].concat();
    let body = [field(1, &record), vec![2 << 3, 1]].concat();
    let head = format!(
        "POST /api/v1/log/append HTTP/1.1\r\nHost: load\r\nContent-Type: application/protobuf\r\n\
         Accept: application/protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

pub(super) async fn append(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&bench.fresh(), &WITH_HTTP)?;
    for (what, key, target) in [
        ("a log of its own", "load:", Target::AtLeast(8000.0)),
        ("topics", "load-", Target::None),
    ] {
        let mut tasks = Vec::new();
        for n in 0..CONNECTIONS {
            let mut http = Http::open(&broker.http).await?;
            let request = append_request(&format!("{key}{n}"), &[b'x'; 256]);
            // Topics are made and logs opened before it counts.
            http.call(&request).await?;
            tasks.push((http, request));
        }
        let cpu = broker.cpu_seconds();
        let began = Instant::now();
        let until = began + Duration::from_secs((10 / bench.divide).max(2));
        let tasks = tasks.into_iter().map(|(mut http, request)| async move {
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                http.call(&request).await?;
                latencies.push(began.elapsed());
            }
            anyhow::Ok(latencies)
        });
        let found = futures::future::try_join_all(tasks).await?;
        let seconds = began.elapsed().as_secs_f64();
        let mut latencies = Latencies::default();
        let mut appends = 0;
        for latency in found.into_iter().flatten() {
            latencies.add(latency);
            appends += 1;
        }
        let rate = f64::from(appends) / seconds;
        let cpu = (broker.cpu_seconds() - cpu) * 1e6 / f64::from(appends);
        let name = |of: &str| format!("{of}, {what}");
        report.figure("http", &name("durable appends"), rate, "/s", target);
        report.figure(
            "http",
            &name("p99"),
            latencies.percentile(0.99),
            "ms",
            Target::None,
        );
        report.figure(
            "http",
            &name("CPU of the broker an append"),
            cpu,
            "us",
            Target::None,
        );
    }
    Ok(())
}

pub(super) async fn followers(bench: &Bench, report: &mut Report) -> Result<()> {
    let broker = bench.start(&bench.fresh(), &WITH_HTTP)?;
    let mut writer = Http::open(&broker.http).await?;
    let mut followers = Vec::new();
    for n in 0..FOLLOWERS {
        let key = format!("idle:{n}");
        writer.call(&append_request(&key, b"x")).await?;
        let mut http = Http::open(&broker.http).await?;
        let request = format!(
            "GET /api/v1/log/scan?key={key}&follow=true HTTP/1.1\r\nHost: load\r\n\
             Accept: application/x-ndjson\r\n\r\n"
        );
        http.stream.write_all(request.as_bytes()).await?;
        http.head().await?;
        http.next_line().await?;
        followers.push(http);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let cpu = broker.cpu_seconds();
    let seconds = (20 / bench.divide).max(5);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let share = (broker.cpu_seconds() - cpu) / seconds as f64 * 100.0;
    report.figure(
        "followers",
        "CPU of the broker with 1,000 idle followers",
        share,
        "% of a core",
        Target::AtMost(2.0),
    );
    let mut latencies = Latencies::default();
    for n in 0..bench.work(2000) as usize {
        let at = n % FOLLOWERS;
        let request = append_request(&format!("idle:{at}"), &[b'y'; 256]);
        let began = Instant::now();
        let (sent, received) = tokio::join!(writer.call(&request), followers[at].next_line());
        sent?;
        received?;
        latencies.add(began.elapsed());
    }
    for (what, share, target) in [
        ("p50", 0.5, Target::None),
        ("p99", 0.99, Target::AtMost(5.0)),
    ] {
        report.figure(
            "followers",
            &format!("append to follower and answer, one of 1,000, {what}"),
            latencies.percentile(share),
            "ms",
            target,
        );
    }
    Ok(())
}
