//! The walk over a file: its classes, its functions, and its imports' functions.

use std::collections::HashMap;

use crate::body::{Body, stack_pointer};
use crate::docs::Docs;
use crate::member::{Place, member};
use crate::model::{Cast, Closure, Glue, MemberKind, Taken};
use crate::names;
use crate::tree::{self, Class, Expr, Function, Operator, Stmt};

/// What is found on the walk.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    source: &'a str,
    glue: Glue,
    /// The export that each of the glue's own functions calls, and what it gives a closure there.
    adapters: HashMap<String, (String, Option<Vec<Taken>>)>,
    /// The functions of imports that make a function of a closure, and the adapter of each.
    closures: Vec<(String, Option<String>)>,
    /// The conversions that the bodies of imports make.
    converted: Vec<Cast>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self {
            source,
            glue: Glue::default(),
            adapters: HashMap::new(),
            closures: Vec::new(),
            converted: Vec::new(),
        }
    }

    /// What the file says.
    pub(crate) fn finish(mut self) -> Glue {
        // A comment says more than a body, and a bundler may have dropped it.
        self.glue.casts = casts(self.source);
        for cast in std::mem::take(&mut self.converted) {
            if !self.glue.casts.iter().any(|one| one.import == cast.import) {
                self.glue.casts.push(cast);
            }
        }
        let adapters = &self.adapters;
        self.glue.closures = self
            .closures
            .into_iter()
            .map(|(import, adapter)| {
                let called = adapter
                    .as_ref()
                    .and_then(|name| adapters.get(name))
                    .cloned();
                let (invoke, takes) = match called {
                    Some((export, takes)) => (Some(export), takes),
                    None => (adapter, None),
                };
                Closure {
                    import,
                    invoke,
                    takes,
                }
            })
            .collect();
        self.glue
    }

    pub(crate) fn statements(&mut self, statements: &[Stmt]) {
        tree::each(statements, &mut |statement| match statement {
            Stmt::Function(name, function) => self.function(name, function),
            Stmt::Class(name, class) => self.class(name, class),
            Stmt::Let(name, Some(value)) => self.named(name, value),
            Stmt::Expr(expr) | Stmt::Return(Some(expr)) => self.expression(expr),
            _ => {}
        });
    }

    fn expression(&mut self, expr: &Expr) {
        match expr {
            // `module.exports.f = function() {}`
            Expr::Assign(left, right) => {
                let name = match &**left {
                    Expr::Member(_, name) | Expr::Name(name) => name.as_str(),
                    _ => "",
                };
                self.named(name, right);
            }
            other => self.named("", other),
        }
    }

    /// A value, and the name that it gets.
    fn named(&mut self, name: &str, value: &Expr) {
        match value {
            Expr::Function(function) => self.function(name, function),
            Expr::Class(class) => self.class(name, class),
            Expr::Object(members) => {
                for (key, value) in members {
                    self.named(key, value);
                }
            }
            Expr::Assign(..) => self.expression(value),
            Expr::Call(callee, arguments) => {
                self.first_slot(name, callee, arguments);
                // The body of a function that is called where it stands.
                self.named("", callee);
                if names_class(callee) {
                    return;
                }
                for argument in arguments {
                    self.named("", argument);
                }
            }
            Expr::Other(parts) => {
                for part in parts {
                    self.named("", part);
                }
            }
            Expr::Member(inner, _) => self.named("", inner),
            _ => {}
        }
    }

    /// `const heap = new Array(128).fill(undefined)`
    fn first_slot(&mut self, name: &str, callee: &Expr, arguments: &[Expr]) {
        let count = match (callee.as_name(), arguments) {
            (Some("Array"), [Expr::Number(count)]) => *count,
            _ => match callee {
                Expr::Member(inner, method) if method == "fill" => match inner.as_call() {
                    Some(("Array", [Expr::Number(count)])) => *count,
                    _ => return,
                },
                _ => return,
            },
        };
        if name == "heap" && (1.0..=65_536.0).contains(&count) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a small positive number"
            )]
            let count = count as u32;
            self.glue.first_slot = Some(count);
        }
    }

    fn function(&mut self, name: &str, function: &Function) {
        if name.starts_with("__wbg_") || name.starts_with("__wbindgen_") {
            self.import(name, function);
        }
        let body = Body::of(function);
        self.services(&body);
        if name == "handleError" {
            self.glue.services.exception = body.exception.map(ToOwned::to_owned);
        }
        let is_own = name.is_empty()
            || name.starts_with("__wb")
            || name.contains("_closures_")
            || name.contains("___closure__");
        if is_own {
            if let Some((export, arguments)) = body.call {
                let takes = taken(&function.params, arguments);
                let called = (export.to_owned(), takes);
                self.adapters.insert(name.to_owned(), called);
            }
        } else if !self.place(name, function, &body) {
            // Imports are set up, and a module without modules is made, inside of a function.
            self.statements(&function.body);
        }
        if is_own {
            self.statements(&function.body);
        }
    }

    /// Reads a plain function. It says whether the function calls an export.
    fn place(&mut self, name: &str, function: &Function, body: &Body<'_>) -> bool {
        let place = Place {
            class: None,
            name,
            kind: MemberKind::Function,
            function,
        };
        self.member(place, body)
    }

    fn member(&mut self, place: Place<'_>, body: &Body<'_>) -> bool {
        let docs = Docs::above(self.source, place.function.at);
        let Some(member) = member(place, body, &docs) else {
            return false;
        };
        if member.return_pointer
            && let Some(first) = body.call.and_then(|(_, arguments)| arguments.first())
            && let Some(from) = stack_pointer(body.resolved(first))
        {
            self.glue.services.stack_pointer.get_or_insert(from);
        }
        // A file can define a function and give it another name.
        if !self.glue.members.contains(&member) {
            self.glue.members.push(member);
        }
        true
    }

    fn class(&mut self, name: &str, class: &Class) {
        for one in &class.members {
            let kind = match (word_before(self.source, one.function.at), one.is_static) {
                (Some("get"), _) => MemberKind::Getter,
                (Some("set"), _) => MemberKind::Setter,
                (_, true) => MemberKind::Static,
                _ if one.name == "constructor" => MemberKind::Constructor,
                _ if one.name == "free" => MemberKind::Free,
                _ => MemberKind::Method,
            };
            let body = Body::of(&one.function);
            self.services(&body);
            let place = Place {
                class: Some(name),
                name: &one.name,
                kind: corrected(kind, &body),
                function: &one.function,
            };
            self.member(place, &body);
        }
    }

    fn services(&mut self, body: &Body<'_>) {
        let services = &mut self.glue.services;
        if let Some((_, arguments)) = body.call {
            for argument in arguments {
                let value = body.resolved(argument);
                let passed = value.find(&|expr: &Expr| {
                    let (helper, given) = expr.as_call()?;
                    names::passes(helper)?;
                    Some([
                        given.get(1).and_then(export_of),
                        given.get(2).and_then(export_of),
                    ])
                });
                if let Some([alloc, realloc]) = passed {
                    services.alloc = services.alloc.take().or(alloc);
                    services.realloc = services.realloc.take().or(realloc);
                }
            }
            if let Some((name, _)) = body.freed.first() {
                services.free.get_or_insert((*name).to_owned());
            }
        }
    }

    /// The function of an import: whether it makes a function of a closure.
    fn import(&mut self, name: &str, function: &Function) {
        let mut made = None;
        tree::each(&function.body, &mut |statement| {
            if let Stmt::Let(_, Some(value)) | Stmt::Return(Some(value)) = statement {
                made = made.take().or_else(|| {
                    value.find(&|expr: &Expr| {
                        let (helper, arguments) = expr.as_call()?;
                        let makes = matches!(helper, "makeMutClosure" | "makeClosure");
                        makes.then(|| {
                            arguments
                                .last()
                                .and_then(Expr::as_name)
                                .map(ToOwned::to_owned)
                        })
                    })
                });
            }
        });
        if let Some(adapter) = made {
            self.closures.push((name.to_owned(), adapter));
        } else if name.starts_with("__wbindgen_cast_")
            && let Some(from) = converted(&Body::of(function))
        {
            self.converted.push(Cast {
                import: name.to_owned(),
                what: format!("{from} -> Externref"),
            });
        }
    }
}

/// The export that an expression names: `wasm.__wbindgen_malloc`.
fn export_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Member(wasm, name) if wasm.as_name() == Some("wasm") => Some(name.clone()),
        _ => None,
    }
}

/// The word on the same line before a place. The parser takes getters and setters for methods.
fn word_before(source: &str, at: usize) -> Option<&str> {
    let line = source.get(..at)?.rsplit('\n').next()?;
    line.split_whitespace().next_back()
}

/// Some classes have a method `free` of their own: the one that ends an object is told by its export.
fn corrected(kind: MemberKind, body: &Body<'_>) -> MemberKind {
    let ends = body
        .call
        .is_some_and(|(export, _)| export.starts_with("__wbg_") && export.ends_with("_free"));
    match (kind, ends) {
        (MemberKind::Free, false) => MemberKind::Method,
        (kind, _) => kind,
    }
}

/// What an adapter with these parameters gives a closure: the export gets the closure's two words and
/// then the others, a number as it is and an object by its slot.
fn taken(params: &[String], arguments: &[Expr]) -> Option<Vec<Taken>> {
    let (words, others) = params.split_at_checked(2)?;
    let (first, given) = arguments.split_at_checked(2)?;
    let is = |expr: &Expr, param: &String| expr.as_name() == Some(param);
    if !first.iter().zip(words).all(|(expr, word)| is(expr, word)) || given.len() != others.len() {
        return None;
    }
    let kind = |(expr, param): (&Expr, &String)| match expr.as_call() {
        Some(("addHeapObject", [inner])) => is(inner, param).then_some(Taken::Object),
        Some(("addBorrowedObject", [inner])) => is(inner, param).then_some(Taken::Borrowed),
        _ => is(expr, param).then_some(Taken::Number),
    };
    given.iter().zip(others).map(kind).collect()
}

/// `new FinalizationRegistry(ptr => wasm.__wbg_x_free(ptr))`, which is no function of the module's.
fn names_class(callee: &Expr) -> bool {
    matches!(callee.as_name(), Some("FinalizationRegistry" | "Proxy"))
}

/// What an import converts by its body, in wasm-bindgen's words. A number that is passed as it is can be
/// of several types, of which the module's own tells.
fn converted(body: &Body<'_>) -> Option<String> {
    let value = body.resolved(body.returned.first()?);
    let value = match value.as_method() {
        Some((inner, "slice", [])) => inner,
        Some((big, "asUintN", [_, _])) if big.as_name() == Some("BigInt") => {
            return Some("U64".to_owned());
        }
        _ => value,
    };
    let is_owned = !body.freed.is_empty();
    match value {
        Expr::Name(_) => Some("F64".to_owned()),
        Expr::Binary(Operator::Shift, _, by) if by.is_zero() => Some("U32".to_owned()),
        _ => {
            let (helper, [_, _]) = value.as_call()? else {
                return None;
            };
            Some(match (names::element_of(helper)?, is_owned) {
                ("String", true) => "String".to_owned(),
                ("String", false) => "Ref(String)".to_owned(),
                (of, true) => format!("Vector({of})"),
                (of, false) => format!("Ref(Slice({of}))"),
            })
        }
    }
}

/// The conversions that newer glue names in comments.
fn casts(source: &str) -> Vec<Cast> {
    const MARK: &str = "Cast intrinsic for `";
    let mut casts = Vec::new();
    for (at, _) in source.match_indices(MARK) {
        let Some(what) = source[at + MARK.len()..].split('`').next() else {
            continue;
        };
        let Some(start) = source[..at].rfind("__wbindgen_cast_") else {
            continue;
        };
        let import = source[start..]
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next();
        casts.push(Cast {
            import: import.unwrap_or_default().to_owned(),
            what: what.to_owned(),
        });
    }
    casts
}

/// Reads the functions of a file, and of functions that are called where they stand.
pub(crate) fn collect(source: &str, statements: &[Stmt]) -> Glue {
    let mut walk = Walk::new(source);
    walk.statements(statements);
    walk.finish()
}
