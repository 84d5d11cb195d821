//! `journal dump`: the records of a journal, for people and for machines.

use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use proxy_core::{
    AnswerView, CheckpointView, Cut, EntryView, HostCallView, JournalReader, JournalStore,
    Position, ReadRecord, RecordView,
};
use serde_json::{Value as Json, json};

use super::{described, open_read_only, values};
use crate::args::DumpArgs;
use crate::escape;

pub(crate) fn dump(args: &DumpArgs) -> Result<ExitCode> {
    let store = open_read_only(&args.dir)?;
    let reader = JournalReader::new(&store)?;
    let head = reader.head();
    let first = args.from.map_or(head.first, Position);
    if let Some(from) = args.from
        && !(head.first..=head.position).contains(&first)
    {
        bail!(
            "the journal has records {} to {}, and --from {from} is none of them",
            head.first,
            head.position
        );
    }
    let records = reader.records_after(first.previous())?;
    let checkpoints = reader.checkpoints()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = (|| -> Result<()> {
        write_line(&mut out, &beginning(args, &store, &reader, &checkpoints))?;
        for record in records.take(args.limit.unwrap_or(usize::MAX)) {
            let record = json_of(&record?);
            let line = if args.json {
                record.to_string()
            } else {
                text_of(&record)
            };
            write_line(&mut out, &line)?;
        }
        out.flush()?;
        Ok(())
    })();
    match written {
        // A reader that went away, as `head` does, is not an error.
        Err(error) if is_gone(&error) => Ok(ExitCode::SUCCESS),
        written => {
            written.context("cannot print the journal")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn write_line(out: &mut impl Write, line: &str) -> io::Result<()> {
    writeln!(out, "{}", escape::lines(line))
}

fn is_gone(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// What the journal is.
fn beginning(
    args: &DumpArgs,
    store: &dyn JournalStore,
    reader: &JournalReader<'_>,
    checkpoints: &[CheckpointView],
) -> String {
    let (subject, head) = (reader.subject(), reader.head());
    if args.json {
        let checkpoints = checkpoints.iter().map(|one| {
            json!({
                "file": one.reference.file,
                "position": one.reference.position.0,
                "bytes": one.reference.bytes,
                "says": described(one),
            })
        });
        let journal = json!({
            "kind": "journal",
            "id": store.id().to_string(),
            "module": subject.module.to_string(),
            "policy": hex(&subject.policy),
            "format": subject.format,
            "first": head.first.0,
            "last": head.position.0,
            "hash": hex(&head.hash),
            "checkpoints": checkpoints.collect::<Vec<_>>(),
        });
        return journal.to_string();
    }
    let mut text = format!(
        "# journal {} of module {}, records {} to {}",
        store.id(),
        subject.module,
        head.first,
        head.position
    );
    for one in checkpoints {
        let _ = write!(
            text,
            "\n# checkpoint {}: {}",
            one.reference.file,
            described(one)
        );
    }
    text
}

fn hex(hash: &[u8; 32]) -> String {
    blake3::Hash::from(*hash).to_hex().to_string()
}

/// A record as an object of JSON.
fn json_of(read: &ReadRecord) -> Json {
    let mut json = match &read.record {
        RecordView::Genesis {
            imports,
            host_calls,
        } => json!({
            "kind": "genesis",
            "imports": imports.iter().map(|(module, name)| json!([module, name])).collect::<Vec<_>>(),
            "host_calls": host_calls.iter().map(host_call).collect::<Vec<_>>(),
        }),
        RecordView::Entry { entry: of, answer } => {
            let mut json = entry(of);
            json["kind"] = json!("entry");
            if let Some(of) = answer {
                json["answer"] = answered(of);
            }
            json
        }
        RecordView::Answer(of) => json!({ "kind": "answer", "answer": answered(of) }),
        RecordView::Cut { cut: of, instead } => json!({
            "kind": "cut",
            "cut": cut(of),
            "instead": instead.as_ref().map(entry),
        }),
        _ => json!({ "kind": "unknown" }),
    };
    json["position"] = json!(read.position.0);
    json["hash"] = json!(hex(&read.hash));
    json["bytes"] = json!(read.bytes);
    json
}

fn entry(entry: &EntryView) -> Json {
    json!({
        "sequence": entry.sequence.0,
        "call": entry.export,
        "args": entry.args.iter().map(values::arg).collect::<Vec<_>>(),
        "results": entry.results.iter().map(values::result).collect::<Vec<_>>(),
        "fingerprints": values::vals(&entry.fingerprints),
        "host_calls": entry.host_calls.iter().map(host_call).collect::<Vec<_>>(),
        "frees": entry.frees.iter().map(values::handle).collect::<Vec<_>>(),
        "needs": entry.needs.as_ref().map(values::handle),
        "took_ns": u64::try_from(entry.took.as_nanos()).unwrap_or(u64::MAX),
    })
}

fn host_call(call: &HostCallView) -> Json {
    json!({
        "import": call.import,
        "args": values::vals(&call.args),
        "results": values::vals(&call.results),
        "changes": call.changes,
        "bytes_written": call.bytes_written,
    })
}

fn answered(answered: &AnswerView) -> Json {
    json!({
        "id": String::from_utf8_lossy(&answered.id),
        "call_blake3": hex(&answered.call),
        "results": answered
            .answer
            .as_ref()
            .ok()
            .map(|all| all.iter().map(values::value).collect::<Vec<_>>()),
        "error": answered.answer.as_ref().err(),
    })
}

fn cut(cut: &Cut) -> Json {
    json!({
        "entry": cut.entry.0,
        "export": cut.export,
        "kind": cut.kind.name(),
        "what": cut.what.name(),
        "expected": cut.expected,
        "got": cut.got,
    })
}

/// The same in one line for people.
fn text_of(record: &Json) -> String {
    let at = &record["position"];
    let host_calls = record["host_calls"].as_array().map_or(0, Vec::len);
    match record["kind"].as_str() {
        Some("genesis") => format!("{at} genesis, {host_calls} host calls"),
        Some("entry") => {
            let mut line = format!("{at} {}", call(record));
            if host_calls > 0 {
                let _ = write!(line, ", {host_calls} host calls");
            }
            for freed in record["frees"].as_array().into_iter().flatten() {
                let _ = write!(line, ", frees {}", freed.as_str().unwrap_or_default());
            }
            if !record["answer"].is_null() {
                let _ = write!(line, ", id {}", record["answer"]["id"]);
            }
            line
        }
        Some("answer") => format!(
            "{at} id {}: no entry, {}",
            record["answer"]["id"], record["answer"]
        ),
        Some("cut") => {
            let instead = &record["instead"];
            let cut = &record["cut"];
            let mut line = format!(
                "{at} entry #{} was {}: expected {}, got {}",
                cut["entry"], cut["kind"], cut["expected"], cut["got"]
            );
            if !instead.is_null() {
                let _ = write!(line, "; it is {}", call(instead));
            }
            line
        }
        _ => format!("{at} a record that this program does not know"),
    }
}

fn call(entry: &Json) -> String {
    let list = |name: &str| {
        let items = entry[name].as_array().into_iter().flatten();
        items.map(Json::to_string).collect::<Vec<_>>().join(", ")
    };
    let results = match list("results") {
        none if none.is_empty() => "nothing".to_owned(),
        results => results,
    };
    format!(
        "#{} {}({}) -> {results}",
        entry["sequence"],
        escape::line(entry["call"].as_str().unwrap_or_default()),
        list("args")
    )
}
