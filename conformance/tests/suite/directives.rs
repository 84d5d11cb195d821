//! What a file says, directive by directive, and whether it is so.

use std::collections::HashMap;

use conformance::prelude::*;
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Id;
use wast::{QuoteWat, Wast, WastDirective, WastExecute, WastInvoke, WastRet};

use super::guests::{Ended, Guest, Modules};
use super::values::{argument, fit};

/// What became of a directive that asserts something, or that others depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    /// Why not, in words that are the same for all of a kind.
    Failed(String),
}

type Checked = Result<(), String>;

/// The instances of a file.
struct State<'m> {
    modules: &'m mut Modules,
    /// The last one, and those with names; or why there is none.
    made: Vec<Result<Guest, String>>,
    names: HashMap<String, usize>,
}

/// Runs all directives of a file, and gives the line and the outcome of each.
pub(super) fn outcomes(text: &str, modules: &mut Modules) -> Vec<(usize, Outcome)> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).unwrap();
    let wast = parser::parse::<Wast<'_>>(&buffer).unwrap();
    let mut state = State {
        modules,
        made: Vec::new(),
        names: HashMap::new(),
    };
    let directives = wast.directives.into_iter().map(|directive| {
        let line = directive.span().linecol_in(text).0 + 1;
        let outcome = match state.check(directive) {
            Ok(()) => Outcome::Passed,
            Err(reason) => Outcome::Failed(reason),
        };
        (line, outcome)
    });
    directives.collect()
}

impl State<'_> {
    fn check(&mut self, directive: WastDirective<'_>) -> Checked {
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let made = self.make(&mut module).map_err(|ended| reason_of(&ended));
                let checked = made.as_ref().map(|_| ()).map_err(Clone::clone);
                if let Some(name) = name {
                    self.names.insert(name, self.made.len());
                }
                self.made.push(made);
                checked
            }
            // What imports from it says so.
            WastDirective::Register { .. } => Ok(()),
            WastDirective::Invoke(call) => match self.call(&call)? {
                Ok(_) => Ok(()),
                Err(ended) => Err(reason_of(&ended)),
            },
            WastDirective::AssertReturn { exec, results, .. } => self.returns(exec, &results),
            WastDirective::AssertTrap { exec, message, .. } => self.traps(exec, message),
            WastDirective::AssertExhaustion { call, .. } => match self.call(&call)? {
                Err(Ended::Trap(Trap::StackOverflow)) => Ok(()),
                other => Err(format!("not exhausted: {}", shown(&other))),
            },
            WastDirective::AssertMalformed { mut module, .. }
            | WastDirective::AssertInvalid { mut module, .. } => {
                // Text that is malformed is refused before there is a module.
                let Ok(wasm) = module.encode() else {
                    return Ok(());
                };
                match self.modules.make(&wasm) {
                    Err(Ended::Invalid(_)) => Ok(()),
                    Err(other) => Err(format!("refused otherwise: {}", reason_of(&other))),
                    Ok(_) => Err("a module that is not valid is taken".to_owned()),
                }
            }
            WastDirective::AssertUnlinkable { mut module, .. } => {
                match self.modules.make(&module.encode().unwrap()) {
                    Err(Ended::Import(_)) => Ok(()),
                    Err(other) => Err(format!("refused otherwise: {}", reason_of(&other))),
                    Ok(_) => Err("a module that does not link is taken".to_owned()),
                }
            }
            other => Err(format!("no such directive is run: {other:?}")),
        }
    }

    fn make(&mut self, module: &mut QuoteWat<'_>) -> Result<Guest, Ended> {
        let wasm = module.encode();
        let wasm = wasm.map_err(|error| Ended::Other(format!("it is not encoded: {error}")))?;
        self.modules.make(&wasm)
    }

    fn guest(&mut self, name: Option<Id<'_>>) -> Result<&mut Guest, String> {
        let at = match name {
            Some(name) => *self.names.get(name.name()).ok_or("no such module")?,
            None => self.made.len().checked_sub(1).ok_or("no module")?,
        };
        let guest = self.made[at].as_mut();
        guest.map_err(|_| "the module was not made".to_owned())
    }

    fn call(&mut self, call: &WastInvoke<'_>) -> Result<Result<Vec<Val>, Ended>, String> {
        let args: Vec<Val> = call.args.iter().map(argument).collect::<Result<_, _>>()?;
        Ok(self.guest(call.module)?.call(call.name, &args))
    }

    fn returns(&mut self, exec: WastExecute<'_>, results: &[WastRet<'_>]) -> Checked {
        let call = match exec {
            WastExecute::Invoke(call) => call,
            WastExecute::Wat(_) => return Err("a module returns nothing".to_owned()),
            WastExecute::Get { .. } => return Err("no caller reads globals".to_owned()),
        };
        match self.call(&call)? {
            Ok(got) if fit(&got, results) => Ok(()),
            Ok(_) => Err(format!("`{}` gave something else", call.name)),
            Err(ended) => Err(reason_of(&ended)),
        }
    }

    fn traps(&mut self, exec: WastExecute<'_>, message: &str) -> Checked {
        let ended = match exec {
            WastExecute::Invoke(call) => self.call(&call)?,
            WastExecute::Wat(mut module) => {
                let made = self.modules.make(&module.encode().unwrap());
                made.map(|_| Vec::new())
            }
            WastExecute::Get { .. } => return Err("no caller reads globals".to_owned()),
        };
        match ended {
            Err(Ended::Trap(trap)) if is_meant(trap, message) => Ok(()),
            other => Err(format!("not \"{message}\": {}", shown(&other))),
        }
    }
}

/// Whether a message of the suite says this of a trap.
fn is_meant(trap: Trap, message: &str) -> bool {
    let messages: &[&str] = match trap {
        Trap::Unreachable => &["unreachable"],
        Trap::MemoryOutOfBounds => &["out of bounds memory access"],
        Trap::TableOutOfBounds => &["out of bounds table access", "undefined element"],
        Trap::IndirectCallToNull => &["uninitialized element", "undefined element"],
        Trap::BadSignature => &["indirect call type mismatch"],
        Trap::IntegerOverflow => &["integer overflow"],
        Trap::IntegerDivisionByZero => &["integer divide by zero"],
        Trap::BadConversionToInteger => &["invalid conversion to integer", "integer overflow"],
        Trap::StackOverflow => &["call stack exhausted"],
        _ => &[],
    };
    messages.iter().any(|start| message.starts_with(start))
}

/// Why a call or a module ended, without the names in it.
fn reason_of(ended: &Ended) -> String {
    match ended {
        Ended::Trap(trap) => format!("trapped: {trap}"),
        Ended::Invalid(_) => "called not valid".to_owned(),
        Ended::Import(_) => "imports from another instance".to_owned(),
        Ended::Unsupported(_) => "it needs what the engine lacks".to_owned(),
        Ended::Other(reason) => reason.lines().next().unwrap_or_default().to_owned(),
    }
}

fn shown(outcome: &Result<Vec<Val>, Ended>) -> String {
    match outcome {
        Ok(values) => format!("{values:?}"),
        Err(ended) => reason_of(ended),
    }
}
