//! A report as one page for a browser, without scripts and without other files.
//!
//! It is well-formed XML too, so a program can check it.

use std::fmt::Write;

use crate::figures::figures;
use crate::plot::printable;
use crate::table::{Table, circumstances, cost, speed};
use crate::{Report, Strategy};

const STYLE: &str = "body{font:16px/1.5 Helvetica,Arial,sans-serif;color:#222;background:#fff;max-width:1100px;\
    margin:2em auto;padding:0 1em}h1{font-size:1.6em}h2{margin-top:2em}table{border-collapse:collapse;\
    font-size:14px;margin:1em 0;display:block;overflow-x:auto}th,td{padding:.3em .7em;border-bottom:1px solid #ddd;\
    text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}figure{margin:1em 0}\
    figcaption{color:#444;font-size:14px}svg{max-width:100%;height:auto}tr.proxy td{background:#f2f7fb}\
    code{background:#f4f4f4;padding:0 .2em}dt{font-weight:bold}";

/// The page: tables, plots, and descriptions of the strategies.
#[must_use]
pub fn report_page(report: &Report) -> String {
    let module = escape(&report.job.module);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" \
         content=\"width=device-width\"/>\n<title>{module}: wasm-proxy and the alternatives</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{module}: wasm-proxy and the alternatives</h1>\n"
    );
    for sentence in circumstances(report) {
        let _ = writeln!(out, "<p>{}</p>", escape(&sentence.replace('*', "")));
    }
    let _ = writeln!(
        out,
        "<p>Command: <code>{}</code></p>",
        escape(&report.origin.command)
    );
    for engine in &report.engines {
        let _ = writeln!(out, "<h2>{}</h2>", escape(&engine.engine));
        table(&mut out, &speed(report, engine));
        table(&mut out, &cost(engine));
        errors(&mut out, engine);
    }
    out.push_str("<h2>Plots</h2>\n");
    for figure in figures(report) {
        let _ = writeln!(
            out,
            "<figure id=\"{}\">\n{}<figcaption>{}</figcaption>\n</figure>",
            escape(&figure.name),
            figure.svg,
            escape(&figure.caption)
        );
    }
    out.push_str("<h2>The strategies</h2>\n<dl>\n");
    for strategy in Strategy::ALL {
        let _ = writeln!(
            out,
            "<dt>{}</dt><dd>{}</dd>",
            escape(strategy.name()),
            escape(strategy.description())
        );
    }
    out.push_str("</dl>\n</body>\n</html>\n");
    out
}

fn table(out: &mut String, table: &Table) {
    let cells = |tag: &str, cells: &[String]| -> String {
        let cell = |text: &String| format!("<{tag}>{}</{tag}>", escape(text));
        cells.iter().map(cell).collect()
    };
    let _ = writeln!(
        out,
        "<table>\n<thead><tr>{}</tr></thead>\n<tbody>",
        cells("th", &table.columns)
    );
    for row in &table.rows {
        let is_proxy = row.first().is_some_and(|name| {
            let mut proxies = Strategy::ALL.iter().filter(|s| s.is_proxy());
            proxies.any(|strategy| strategy.name() == name)
        });
        let class = if is_proxy { " class=\"proxy\"" } else { "" };
        let _ = writeln!(out, "<tr{class}>{}</tr>", cells("td", row));
    }
    out.push_str("</tbody>\n</table>\n");
}

fn errors(out: &mut String, engine: &crate::EngineReport) {
    for row in &engine.rows {
        if let Some(error) = &row.error {
            let _ = writeln!(
                out,
                "<p>First failure of <em>{}</em>: {}</p>",
                escape(row.strategy.name()),
                escape(error)
            );
        }
    }
}

/// Text that cannot end an element or an attribute.
fn escape(text: &str) -> String {
    printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(
            escape("<script>alert('x')</script>&\"\u{0}\n"),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}\u{fffd}"
        );
    }

    /// A report of the bare instance on one engine, as its JSON form has it.
    fn report(name: &str) -> Report {
        let spread = |median: f64| json!({"median": median, "min": median / 2.0, "max": median});
        let machine = json!({"cpu": name, "cores": 2, "memory_mib": 1, "system": "", "arch": ""});
        let job = json!({
            "module": name, "module_hash": "", "workload": name, "state_calls": 1, "turn_calls": 1,
            "calls_left_out": 0, "turns": 5, "time_max_s": 1.0, "rounds": 3,
            "memory_limit_mib": 64.0, "warn": 0.7, "critical": 0.9, "artifacts": false,
        });
        let row = json!({
            "strategy": "bare", "turns": spread(4.0), "turns_failed": spread(1.0), "error": name,
            "died_at_turn": spread(4.0), "cut_short": false, "turns_with_other_results": null,
            "start_ms": spread(1.0), "turns_per_second": spread(20.0),
            "turns_per_second_first": null, "share_of_bare_first": null, "latency_us": {
                "p50": spread(9.0), "p99": spread(20.0), "p999": spread(30.0), "max": spread(4e3),
                "quantiles": [[0.5, 9.0]],
            },
            "cpu_ms_per_turn": null, "restarts": spread(0.0), "swaps": spread(0.0),
            "pss_start_mib": spread(1.0), "pss_peak_mib": spread(1.0),
            "memory_peak_mib": spread(60.0), "series": {
                "at_s": [0.0, 1.0], "memory_mib": [1.0, 60.0], "pss_mib": [9.0, 70.0],
                "marks": [[1.0, "death"]],
            },
        });
        serde_json::from_value(json!({
            "format": 1, "command": name, "date": "", "commit": null, "machine": machine,
            "versions": {}, "job": job,
            "engines": [{"engine": name, "first_turns": 3, "rows": [row]}],
        }))
        .unwrap()
    }

    #[test]
    fn the_report_page_has_every_plot_and_no_name_is_markup_in_it() {
        let page = report_page(&report("<script>\u{0}&\""));
        assert_eq!(page.matches("<svg").count(), 3);
        for text in ["9 µs … 4 ms", "20, died in turn 4", "limit of one instance"] {
            assert!(page.contains(text), "no {text} in\n{page}");
        }
        assert!(
            !page.contains("<script") && !page.contains('\u{0}'),
            "{page}"
        );
    }
}
