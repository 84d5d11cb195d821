//! The addon of the npm package `wasm-proxy`.
//!
//! It serves the exports of a module that wasm-bindgen made to the JavaScript that came with the
//! module. That JavaScript goes on as it is: it writes arguments into a memory, calls an export with
//! numbers, and reads what the export left there. The memory is a *staging buffer* of JavaScript's
//! own. The addon reads each call's arguments from it by the policy, makes the call on the proxy,
//! and writes the results back. Pointers to objects are *names* to JavaScript, which are never used
//! twice.
//!
//! | file | job |
//! |---|---|
//! | `napi`, `napi/` | what is used of Node's interface, safe to call: the only unsafe code |
//! | `exports` | the functions that JavaScript calls |
//! | `options`, `failure` | what they are told, and what they throw |
//! | `session`, `opening` | one module behind a proxy |
//! | `surface` | the exports as the staging buffer needs them |
//! | `cells`, `arguments`, `results` | one call's numbers, read and written |
//! | `names` | objects by the names that JavaScript has |
//! | `journal` | where the calls and the keys of objects outlive the process |
//! | `events`, `metrics_text` | what is told |

mod arguments;
mod cells;
mod events;
mod exports;
mod failure;
mod journal;
mod metrics_text;
mod names;
mod napi;
mod opening;
mod options;
mod results;
mod session;
mod surface;
