//! What the bridge says, for people.

use std::fmt::Write;

use serde_json::Value;
use trestle::bridge::plan::Plan;

/// Names that are listed before "and N more".
const NAMES: usize = 8;

fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return match unit {
                "B" => format!("{number} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn names(all: &[String]) -> String {
    let shown = all
        .iter()
        .take(NAMES)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match all.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A plan.
pub(super) fn plan(plan: &Plan, limit: &str) -> String {
    let mut out = String::new();
    let size = plan.bytes.map_or("size not known".into(), bytes);
    let _ = writeln!(
        out,
        "reads only. {} topics, {} partitions, {size}, {} offsets, {} groups, {} brokers",
        plan.topics,
        plan.partitions,
        count(plan.offsets.unsigned_abs()),
        plan.groups + plan.groups_not_copied.len(),
        plan.brokers
    );
    let _ = writeln!(
        out,
        "  copied exactly       {} topics  {}",
        plan.exact.len(),
        names(&plan.exact)
    );
    for (title, topics) in [
        ("copied, explained  ", &plan.explained),
        ("cannot be copied   ", &plan.blocked),
    ] {
        if !topics.is_empty() {
            let _ = writeln!(out, "  {title}  {} topics", topics.len());
        }
        for (topic, why) in topics {
            let _ = writeln!(out, "    {topic}: {}", why.join("; "));
        }
    }
    let _ = writeln!(
        out,
        "  groups               {} with their offsets",
        plan.groups
    );
    for (group, why) in &plan.groups_not_copied {
        let _ = writeln!(out, "    not {group}: {why}");
    }
    for open in &plan.open_transactions {
        let _ = writeln!(
            out,
            "  open transaction     {open}: it has to end before a promotion"
        );
    }
    for what in &plan.not_copied {
        let _ = writeln!(out, "  not copied           {what}");
    }
    for what in &plan.not_known {
        let _ = writeln!(out, "  not known            {what}");
    }
    if let Some(seconds) = plan.seconds {
        let _ = writeln!(
            out,
            "  time                 about {} at {limit}",
            time(seconds)
        );
    }
    out.truncate(out.trim_end().len());
    out
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// The jobs.
pub(super) fn status(answer: &Value, partitions: bool) -> String {
    let jobs = items(answer, "jobs");
    if jobs.is_empty() {
        return "no job; trestle bridge run makes one".into();
    }
    let mut out = String::new();
    for job in jobs {
        let rate = bytes(number(job, "bytes_per_second"));
        let limit = job["limit"]
            .as_u64()
            .map(|limit| format!(" of {}/s allowed", bytes(limit)));
        let _ = writeln!(
            out,
            "{} {}  from {}  {} copied, {rate}/s{}",
            text(job, "job"),
            text(job, "state"),
            text(job, "source"),
            bytes(number(job, "bytes")),
            limit.unwrap_or_default()
        );
        if let Some(trouble) = job["trouble"].as_str() {
            let _ = writeln!(out, "  {trouble}");
        }
        topics(&mut out, job, partitions);
        let not_synced = job["groups_not_synced"].as_object();
        let more = not_synced.map_or(0, |groups| groups.len());
        let _ = writeln!(
            out,
            "groups: {} synced, {more} not",
            number(job, "groups_synced")
        );
        if let Some(trouble) = job["groups_trouble"].as_str() {
            let _ = writeln!(out, "  {trouble}");
        }
        for (group, why) in not_synced.into_iter().flatten() {
            let _ = writeln!(out, "  {group}: {}", why.as_str().unwrap_or(""));
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn topics(out: &mut String, job: &Value, partitions: bool) {
    let all = items(job, "topics");
    let width = all
        .iter()
        .map(|topic| text(topic, "topic").len())
        .max()
        .unwrap_or(0)
        .max(5);
    let _ = writeln!(
        out,
        "{:width$}  parts  copied   lag(rec)   lag(s)        rate  state",
        "topic"
    );
    for topic in all {
        let mut state = text(topic, "state").to_owned();
        if let Some(left) = topic["seconds_left"].as_u64() {
            let _ = write!(state, "  {} left", time(left));
        }
        if let Some(reason) = topic["reason"].as_str() {
            let _ = write!(state, "  {reason}");
        }
        if let Some(note) = topic["note"].as_str() {
            let _ = write!(state, "  ({note})");
        }
        let _ = writeln!(
            out,
            "{:width$}  {:5}  {:4.0} %  {:>9}  {:>7.1}  {:>8}/s  {state}",
            text(topic, "topic"),
            items(topic, "partitions").len(),
            topic["percent"].as_f64().unwrap_or(0.0).floor(),
            number(topic, "lag"),
            topic["lag_seconds"].as_f64().unwrap_or(0.0),
            bytes(number(topic, "bytes_per_second")),
        );
        for partition in items(topic, "partitions") {
            let failed = ["FAILED", "WAITING"].contains(&text(partition, "state"));
            if partitions || failed && items(topic, "partitions").len() > 1 {
                let _ = writeln!(
                    out,
                    "  {:>3}  {}..{} of {}..{}  {}  {}",
                    number(partition, "partition"),
                    partition["start"],
                    partition["end"],
                    partition["source_start"],
                    partition["source_end"],
                    text(partition, "state"),
                    text(partition, "reason"),
                );
            }
        }
    }
}

/// A report.
pub(super) fn verification(report: &Value) -> String {
    let mut out = String::new();
    for topic in items(report, "topics") {
        let partitions = items(topic, "partitions");
        let sum = |name: &str| -> u64 {
            partitions
                .iter()
                .map(|partition| number(&partition["source"], name))
                .sum()
        };
        let equal = partitions
            .iter()
            .filter(|partition| partition["equal"] == true)
            .count();
        let settings = match topic["configs"]["equal"] == true {
            true => "configs equal",
            false => "configs DIFFER",
        };
        let _ = writeln!(
            out,
            "{}  {equal}/{} partitions equal  records {}  gaps {}  {}  {settings}",
            text(topic, "topic"),
            partitions.len(),
            count(sum("records")),
            count(sum("gaps")),
            bytes(sum("bytes")),
        );
        for partition in partitions {
            let index = number(partition, "partition");
            if let Some(difference) = partition["difference"].as_str() {
                let _ = writeln!(out, "  {index}: DIFFERS: {difference}");
            }
            for note in items(partition, "explained") {
                let _ = writeln!(out, "  {index}: {}", note.as_str().unwrap_or(""));
            }
        }
    }
    let groups = items(report, "groups");
    let equal = groups
        .iter()
        .filter(|group| items(group, "differences").is_empty())
        .count();
    let _ = writeln!(out, "groups {equal}/{} equal", groups.len());
    for group in groups
        .iter()
        .filter(|group| !items(group, "differences").is_empty())
    {
        let why = group["explained"].as_str().unwrap_or("DIFFERS");
        let _ = writeln!(out, "  {}: {why}", text(group, "group"));
    }
    let seconds = number(report, "took_ms") as f64 / 1000.0;
    let verdict = if report["equal"] == true {
        "PASS"
    } else {
        "FAIL"
    };
    let _ = write!(
        out,
        "{verdict}  {} records, {} in {seconds:.1} s",
        count(number(report, "records")),
        bytes(number(report, "bytes"))
    );
    out
}

/// What was promoted, and what to do now.
pub(super) fn promotion(answer: &Value) -> String {
    let mut out = String::new();
    let dry = answer["dry_run"] == true;
    for topic in items(answer, "promoted") {
        let partitions = items(topic, "partitions");
        let ends: Vec<String> = partitions
            .iter()
            .take(NAMES)
            .map(|partition| format!("{}@{}", partition["partition"], partition["next_offset"]))
            .collect();
        let more = match partitions.len().saturating_sub(NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let verb = if dry {
            "would be promoted"
        } else {
            "is promoted"
        };
        let _ = writeln!(
            out,
            "{} {verb} at {}{more}",
            text(topic, "topic"),
            ends.join(" ")
        );
    }
    for open in items(answer, "aborted") {
        let verb = if dry {
            "would be aborted"
        } else {
            "was aborted"
        };
        let _ = writeln!(
            out,
            "the transaction of producer {} in {}/{} since offset {} {verb} here",
            open["producer_id"],
            text(open, "topic"),
            open["partition"],
            open["since"]
        );
    }
    out.push_str(match dry {
        true => "nothing was changed",
        false => {
            "now point the clients here: set bootstrap.servers to this broker and restart them; consumers go on\n\
             at their committed offsets, producers with the next offset.\n\
             The first record that a producer writes here is the point of no return: the source does not get it."
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            (bytes(999), bytes(6_100_000_000_000)),
            ("999 B".into(), "6.1 TB".into())
        );
        assert_eq!((time(59), time(3_700)), ("59 s".into(), "1 h 1 min".into()));
    }

    #[test]
    fn every_answer_can_be_shown() {
        let report = serde_json::json!({
            "equal": false, "records": 3, "bytes": 10, "took_ms": 1500,
            "topics": [{ "topic": "t", "configs": { "equal": true }, "partitions": [
                { "partition": 0, "equal": false, "difference": "the hashes differ",
                  "source": { "records": 3, "gaps": 1, "bytes": 10 }, "explained": ["a note"] } ] }],
            "groups": [{ "group": "g", "differences": [{}], "explained": null }],
        });
        let shown = verification(&report);
        assert!(shown.contains("0: DIFFERS: the hashes differ") && shown.contains("g: DIFFERS"));
        assert!(shown.ends_with("FAIL  3 records, 10 B in 1.5 s"));
        assert!(status(&serde_json::json!({ "jobs": [] }), false).starts_with("no job"));
        let promoted = serde_json::json!({ "dry_run": true, "aborted": [], "promoted": [
            { "topic": "t", "partitions": [{ "partition": 0, "next_offset": 7 }] } ] });
        assert_eq!(
            promotion(&promoted),
            "t would be promoted at 0@7\nnothing was changed"
        );
    }
}
