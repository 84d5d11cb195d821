//! What happened in a proxy, and its state, as JSON.

use std::path::Path;
use std::time::Duration;

use proxy_core::{DebugInfo, Divergence, Event, Source};
use serde_json::{Map, Value, json};

/// An event: its `event`, and what it says. Sizes are in bytes, durations in milliseconds.
pub(crate) fn json(event: &Event) -> String {
    let mut fields = match fields(event) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields.insert("event".to_owned(), event.name().into());
    Value::Object(fields).to_string()
}

/// A word about the cache of compiled code.
pub(crate) fn note(text: &str) -> String {
    json!({ "event": "compile-cache-note", "text": text }).to_string()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn divergence_of(divergence: &Divergence) -> Value {
    json!({
        "entry": divergence.entry.0,
        "export": divergence.export,
        "expected": divergence.expected,
        "got": divergence.got,
    })
}

fn fields(event: &Event) -> Value {
    memory(event)
        .or_else(|| standby(event))
        .or_else(|| swap(event))
        .or_else(|| call(event))
        .or_else(|| checkpoint(event))
        .or_else(|| journal(event))
        // The rest has words and no figures that a program would compare.
        .unwrap_or_else(|| json!({ "text": format!("{event:?}") }))
}

fn memory(event: &Event) -> Option<Value> {
    Some(match event {
        Event::MemoryCheck {
            used,
            limit,
            standby,
            growth_rate,
        } => json!({
            "used": used,
            "limit": limit,
            "standby": standby,
            "growthRate": growth_rate,
        }),
        Event::GrowthUnseen { memory } => json!({ "memory": memory }),
        Event::StateExceedsBudget {
            state,
            threshold,
            objects,
        } => json!({ "state": state, "threshold": threshold, "objects": objects }),
        _ => return None,
    })
}

fn standby(event: &Event) -> Option<Value> {
    Some(match event {
        Event::StandbyPrepareStart { reason, entries } => {
            json!({ "reason": reason.name(), "entries": entries })
        }
        Event::StandbyPrepareComplete(prepared) => json!({
            "generation": prepared.generation,
            "duration": ms(prepared.duration),
            "entries": prepared.entries,
            "memory": prepared.memory,
            "checkpoint": matches!(prepared.source, Source::Checkpoint(_)),
        }),
        Event::StandbyPrepareError {
            error,
            failures,
            retry_in,
        } => json!({ "error": error, "failures": failures, "retryIn": ms(*retry_in) }),
        Event::ReplayDivergence { divergence } => divergence_of(divergence),
        Event::BreakerOpen { failures } => json!({ "failures": failures }),
        _ => return None,
    })
}

fn swap(event: &Event) -> Option<Value> {
    Some(match event {
        Event::SwapStart { reason, from, to } => {
            json!({ "reason": reason.name(), "from": from, "to": to })
        }
        Event::SwapComplete(swapped) => json!({
            "reason": swapped.reason.name(),
            "from": swapped.from,
            "to": swapped.to,
            "prepare": ms(swapped.prepare),
            "pause": ms(swapped.pause),
            "tail": swapped.tail,
            "memoryBefore": swapped.memory_before,
            "memoryAfter": swapped.memory_after,
        }),
        Event::SwapError { error } => json!({ "error": error }),
        Event::GenerationTainted { generation, cause } => {
            json!({ "generation": generation, "cause": cause })
        }
        Event::GenerationFreed {
            generation,
            memory,
            drained,
        } => json!({ "generation": generation, "memory": memory, "drained": ms(*drained) }),
        Event::DrainKilled { generation } => json!({ "generation": generation }),
        Event::Switched { enabled } => json!({ "enabled": enabled }),
        _ => return None,
    })
}

fn call(event: &Event) -> Option<Value> {
    Some(match event {
        Event::CallRetried { export, reason } => json!({ "export": **export, "reason": reason }),
        Event::CallHeldBack {
            export,
            waited,
            in_time,
        } => json!({ "export": **export, "waited": ms(*waited), "inTime": in_time }),
        Event::TurnRepeated { generation, calls } => {
            json!({ "generation": generation, "calls": calls })
        }
        Event::UnlistedExport { export } => json!({ "export": **export }),
        _ => return None,
    })
}

fn checkpoint(event: &Event) -> Option<Value> {
    Some(match event {
        Event::CheckpointTaken(taken) => json!({
            "entry": taken.sequence.0,
            "bytes": taken.bytes,
            "entries": taken.entries,
            "duration": ms(taken.duration),
        }),
        Event::CheckpointVerified {
            sequence,
            entries,
            duration,
        } => json!({ "entry": sequence.0, "entries": entries, "duration": ms(*duration) }),
        Event::CheckpointsRefused { reasons } => json!({ "reasons": reasons }),
        Event::CheckpointError { error } => json!({ "error": error }),
        Event::JournalCompacted { removed, kept } => json!({ "removed": removed, "kept": kept }),
        Event::HistoryLong { entries, bytes } => json!({ "entries": entries, "bytes": bytes }),
        _ => return None,
    })
}

fn journal(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Recovered(recovered) => json!({
            "entry": recovered.sequence.0,
            "entries": recovered.entries,
            "checkpoint": recovered.checkpoint.map(|at| at.0),
            "duration": ms(recovered.duration),
        }),
        Event::CheckpointPassedOver { file, reason }
        | Event::CheckpointDamaged { file, reason } => {
            json!({ "file": file, "reason": reason })
        }
        Event::CallsUndone { to, entries, error } => {
            json!({ "entry": to.0, "entries": entries, "error": error })
        }
        Event::CallsLost { entries, error } => json!({ "entries": entries, "error": error }),
        Event::JournalError { error } => json!({ "error": error }),
        _ => return None,
    })
}

/// The state of a proxy, how many names of objects JavaScript has, and its journal's folder.
pub(crate) fn debug_info(info: &DebugInfo, names: usize, journal: Option<(&Path, bool)>) -> String {
    json!({
        "name": info.name,
        "engine": info.engine.to_string(),
        "enabled": info.enabled,
        "state": info.state.to_string(),
        "generation": info.generation,
        "generationsAlive": info.generations_alive,
        "memory": info.memory,
        "memoryLimit": info.memory_limit,
        "standbyMemory": info.standby_memory,
        "growthRate": info.growth_rate,
        "seesGrowth": info.sees_growth,
        "journalEntries": info.journal_entries,
        "journalBytes": info.journal_bytes,
        "objects": info.objects,
        "journal": journal.map(|(folder, is_durable)| json!({
            "folder": folder.display().to_string(),
            "durable": is_durable,
            "backlog": info.journal_backlog,
        })),
        "names": names,
        "swaps": info.swaps,
        "emergencies": info.emergencies,
        "entriesVerified": info.entries_verified,
        "divergences": info.divergences,
        "divergence": info.divergence.as_ref().map(divergence_of),
        "retries": info.retries,
        "failures": info.failures,
        "tainted": info.tainted,
        "lastError": info.last_error,
        "stateExceedsBudget": info.state_exceeds_budget,
        "lastSwap": info.last_swap.as_ref().map(|swapped| json!({
            "reason": swapped.reason.name(),
            "pause": ms(swapped.pause),
            "memoryBefore": swapped.memory_before,
            "memoryAfter": swapped.memory_after,
        })),
        "text": info.to_string(),
    })
    .to_string()
}
