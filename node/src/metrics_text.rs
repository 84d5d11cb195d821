//! The metrics of this process as text, in the format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// The upper bounds of a histogram's buckets, in seconds.
const BOUNDS: [f64; 10] = [1e-6, 1e-5, 1e-4, 1e-3, 5e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0];

/// Every metric that was used, by its name, and by its labels.
#[derive(Default)]
struct Book {
    descriptions: BTreeMap<String, String>,
    counters: BTreeMap<Place, Arc<AtomicU64>>,
    gauges: BTreeMap<Place, Arc<AtomicU64>>,
    histograms: BTreeMap<Place, Arc<Buckets>>,
}

/// A name, and its labels as they are written.
type Place = (String, String);

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    /// The bits of an f64.
    sum: AtomicU64,
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        for (bound, count) in BOUNDS.iter().zip(&self.counts) {
            if value <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // It always gives a new value, so it does not fail.
        let _ = self
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

static BOOK: Mutex<Book> = Mutex::new(Book {
    descriptions: BTreeMap::new(),
    counters: BTreeMap::new(),
    gauges: BTreeMap::new(),
    histograms: BTreeMap::new(),
});

fn with_book<T>(work: impl FnOnce(&mut Book) -> T) -> T {
    work(&mut BOOK.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The recorder of a process in which nobody else installs one.
struct Recording;

impl Recorder for Recording {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        describe(&name, text);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        describe(&name, text);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        describe(&name, text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let count = with_book(|book| Arc::clone(book.counters.entry(place(key)).or_default()));
        Counter::from_arc(count)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let value = with_book(|book| Arc::clone(book.gauges.entry(place(key)).or_default()));
        Gauge::from_arc(value)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let buckets = with_book(|book| Arc::clone(book.histograms.entry(place(key)).or_default()));
        Histogram::from_arc(buckets)
    }
}

fn describe(name: &KeyName, text: SharedString) {
    with_book(|book| {
        book.descriptions
            .insert(name.as_str().to_owned(), text.into_owned())
    });
}

fn place(key: &Key) -> Place {
    let mut labels = String::new();
    for label in key.labels() {
        let mark = if labels.is_empty() { "" } else { "," };
        let value = label.value().replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(
            labels,
            "{mark}{}=\"{}\"",
            label.key(),
            value.replace('\n', "\\n")
        );
    }
    (key.name().to_owned(), labels)
}

/// Installs the recorder, once. The addon has its own copy of the facade, so nobody else can have
/// installed one.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = metrics::set_global_recorder(Recording);
    });
}

/// All metrics.
pub(crate) fn text() -> String {
    with_book(|book| {
        let mut text = String::new();
        let mut last = String::new();
        for ((name, labels), value) in &book.counters {
            head(&mut text, &mut last, book, name, "counter");
            line(&mut text, name, labels, value.load(Ordering::Relaxed));
        }
        for ((name, labels), bits) in &book.gauges {
            head(&mut text, &mut last, book, name, "gauge");
            line(
                &mut text,
                name,
                labels,
                f64::from_bits(bits.load(Ordering::Relaxed)),
            );
        }
        for ((name, labels), buckets) in &book.histograms {
            head(&mut text, &mut last, book, name, "histogram");
            histogram(&mut text, name, labels, buckets);
        }
        text
    })
}

fn head(text: &mut String, last: &mut String, book: &Book, name: &str, kind: &str) {
    if last == name {
        return;
    }
    name.clone_into(last);
    if let Some(what) = book.descriptions.get(name) {
        let _ = writeln!(text, "# HELP {name} {what}");
    }
    let _ = writeln!(text, "# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = if labels.is_empty() {
        writeln!(text, "{name} {value}")
    } else {
        writeln!(text, "{name}{{{labels}}} {value}")
    };
}

fn histogram(text: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let mark = if labels.is_empty() { "" } else { "," };
    let count = buckets.count.load(Ordering::Relaxed);
    for (bound, in_it) in BOUNDS.iter().zip(&buckets.counts) {
        let bounded = format!("{labels}{mark}le=\"{bound}\"");
        line(
            text,
            &format!("{name}_bucket"),
            &bounded,
            in_it.load(Ordering::Relaxed),
        );
    }
    line(
        text,
        &format!("{name}_bucket"),
        &format!("{labels}{mark}le=\"+Inf\""),
        count,
    );
    let sum = f64::from_bits(buckets.sum.load(Ordering::Relaxed));
    line(text, &format!("{name}_sum"), labels, sum);
    line(text, &format!("{name}_count"), labels, count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_at_most_its_bound() {
        let buckets = Buckets::default();
        for value in [1e-6, 2e-6, 0.5] {
            buckets.record(value);
        }
        let mut text = String::new();
        histogram(&mut text, "t", "a=\"b\"", &buckets);
        assert!(
            text.contains("t_bucket{a=\"b\",le=\"0.000001\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("t_bucket{a=\"b\",le=\"0.00001\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("t_bucket{a=\"b\",le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("t_count{a=\"b\"} 3\n"), "{text}");
    }
}
