//! From a file to the tree.

use std::thread;

use parse_js::ast::{
    ArrayElement, ClassOrObjectMemberKey as Key, ClassOrObjectMemberValue as Value, ForInit,
    LiteralTemplatePart, Node, ObjectMemberType, Syntax,
};
use parse_js::operator::OperatorName;

use crate::error::Error;
use crate::script::{HEAD, wrapped};
use crate::tree::{Class, ClassMember, Expr, Function, Operator, Stmt};

/// The largest file that is read. The glue of o1js, with 2,400 exports, has 0.3 MiB.
const BYTES_MAX: usize = 32 << 20;

/// The parser calls itself for what is nested. This many brackets fit its stack.
const DEPTH_MAX: usize = 500;

/// The stack of the thread that parses.
const STACK_BYTES: usize = 256 << 20;

/// Parses a file of JavaScript. The parser runs on a thread of its own, because it needs a deep
/// stack, and what it trips over must not end the program.
pub(crate) fn parse(source: &str) -> Result<Vec<Stmt>, Error> {
    check_size(source)?;
    let text = wrapped(source);
    // The wrapper's end counts as the file's.
    let line_of = |at: usize| {
        let end = at.saturating_sub(HEAD.len()).min(source.len());
        let before = &source.as_bytes()[..end];
        before.split(|byte| *byte == b'\n').count()
    };
    let parsed = thread::scope(|scope| {
        thread::Builder::new()
            .name("glue".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || {
                parse_js::parse(text.as_bytes())
                    .map(|top| body_of_wrapper(&top))
                    .map_err(|error| (error.loc.0, error.to_string()))
            })
            .map(thread::ScopedJoinHandle::join)
    });
    match parsed {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err((at, what)))) => Err(Error::Syntax {
            line: line_of(at),
            what,
        }),
        Ok(Err(_)) => Err(Error::Syntax {
            line: 1,
            what: "the parser gave up".to_owned(),
        }),
        Err(error) => Err(Error::Syntax {
            line: 1,
            what: format!("no thread for the parser: {error}"),
        }),
    }
}

fn check_size(source: &str) -> Result<(), Error> {
    if source.len() > BYTES_MAX {
        return Err(Error::TooLarge {
            bytes: source.len(),
            max: BYTES_MAX,
        });
    }
    // Brackets in texts and comments count too: real ones hardly ever leave one open.
    let mut depth = 0_usize;
    for (line, text) in source.lines().enumerate() {
        for byte in text.bytes() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH_MAX {
                return Err(Error::TooDeep {
                    line: line + 1,
                    max: DEPTH_MAX,
                });
            }
        }
    }
    Ok(())
}

/// The statements of the function that `wrapped` puts around the file.
fn body_of_wrapper(top: &Node) -> Vec<Stmt> {
    let Syntax::TopLevel { body } = &*top.stx else {
        return Vec::new();
    };
    let mut all = statements(body);
    match all.pop() {
        Some(Stmt::Expr(Expr::Function(function))) => function.body,
        _ => Vec::new(),
    }
}

fn statements(nodes: &[Node]) -> Vec<Stmt> {
    nodes.iter().flat_map(statement).collect()
}

fn statement(node: &Node) -> Vec<Stmt> {
    match &*node.stx {
        Syntax::ExpressionStmt { expression: inner }
        | Syntax::ExportDefaultExprStmt { expression: inner } => {
            vec![Stmt::Expr(expression(inner))]
        }
        Syntax::ReturnStmt { value } => vec![Stmt::Return(value.as_ref().map(expression))],
        Syntax::ThrowStmt { value } => vec![Stmt::Throw(expression(value))],
        Syntax::VarDecl { declarators, .. } => declarators
            .iter()
            .map(|one| {
                Stmt::Let(
                    name_of(&one.pattern),
                    one.initializer.as_ref().map(expression),
                )
            })
            .collect(),
        Syntax::FunctionDecl { name, function, .. } => {
            let name = name.as_ref().map(name_of).unwrap_or_default();
            vec![Stmt::Function(name, function_of(function, node.loc.0))]
        }
        Syntax::ClassDecl { name, members, .. } => {
            let name = name.as_ref().map(name_of).unwrap_or_default();
            vec![Stmt::Class(name, class_of(members))]
        }
        Syntax::IfStmt {
            test,
            consequent,
            alternate,
        } => vec![Stmt::If(
            expression(test),
            statement(consequent),
            alternate.as_ref().map(statement).unwrap_or_default(),
        )],
        Syntax::BlockStmt { body } | Syntax::ForBody { body } | Syntax::FunctionBody { body } => {
            vec![Stmt::Block(statements(body))]
        }
        Syntax::TryStmt {
            wrapped,
            catch,
            finally,
        } => {
            let mut all = statement(wrapped);
            if let Some(Syntax::CatchBlock { body, .. }) = catch.as_ref().map(|node| &*node.stx) {
                // What is only undone before an exception goes on says nothing of a call that is made.
                let caught = statements(body);
                let goes_on = matches!(caught.last(), Some(Stmt::Throw(_)));
                all.extend(caught.into_iter().filter(|_| !goes_on));
            }
            all.extend(finally.iter().flat_map(statement));
            vec![Stmt::Block(all)]
        }
        Syntax::ForStmt { init, body, .. } => {
            let mut all = match init {
                ForInit::Declaration(node) => statement(node),
                ForInit::Expression(node) => vec![Stmt::Expr(expression(node))],
                ForInit::None => Vec::new(),
            };
            all.extend(statement(body));
            vec![Stmt::Block(all)]
        }
        Syntax::ForInStmt { body, .. }
        | Syntax::ForOfStmt { body, .. }
        | Syntax::WhileStmt { body, .. }
        | Syntax::DoWhileStmt { body, .. }
        | Syntax::LabelStmt {
            statement: body, ..
        } => vec![Stmt::Block(statement(body))],
        Syntax::SwitchStmt { branches, .. } => branches
            .iter()
            .map(|branch| match &*branch.stx {
                Syntax::SwitchBranch { body, .. } => Stmt::Block(statements(body)),
                _ => Stmt::Block(Vec::new()),
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn expressions(nodes: &[&Node]) -> Vec<Expr> {
    nodes.iter().map(|node| expression(node)).collect()
}

fn boxed(node: &Node) -> Box<Expr> {
    Box::new(expression(node))
}

fn expression(node: &Node) -> Expr {
    match &*node.stx {
        Syntax::IdentifierExpr { name } | Syntax::IdentifierPattern { name } => {
            Expr::Name(name.clone())
        }
        Syntax::ThisExpr {} => Expr::This,
        Syntax::LiteralNumberExpr { value } => Expr::Number(value.0),
        Syntax::MemberExpr { left, right, .. } => Expr::Member(boxed(left), right.clone()),
        Syntax::ComputedMemberExpr { object, member, .. } => member_of(object, member),
        Syntax::CallExpr {
            callee, arguments, ..
        } => Expr::Call(boxed(callee), arguments.iter().map(expression).collect()),
        Syntax::CallArg { value, .. } => expression(value),
        Syntax::BinaryExpr {
            operator,
            left,
            right,
            ..
        } => match operator {
            OperatorName::Assignment => Expr::Assign(boxed(left), boxed(right)),
            _ => Expr::Binary(operator_of(*operator), boxed(left), boxed(right)),
        },
        Syntax::UnaryExpr {
            operator, argument, ..
        } => match operator {
            OperatorName::LogicalNot => Expr::Not(boxed(argument)),
            // `new X(..)` is a call of X here.
            OperatorName::New | OperatorName::Await => expression(argument),
            OperatorName::Void => Expr::Name("undefined".to_owned()),
            _ => Expr::Other(expressions(&[argument])),
        },
        Syntax::UnaryPostfixExpr { argument, .. } => Expr::Other(expressions(&[argument])),
        Syntax::ConditionalExpr {
            test,
            consequent,
            alternate,
            ..
        } => Expr::Choice(boxed(test), boxed(consequent), boxed(alternate)),
        Syntax::FunctionExpr { function, .. } | Syntax::ArrowFunctionExpr { function, .. } => {
            Expr::Function(function_of(function, node.loc.0))
        }
        Syntax::ClassExpr { members, .. } => Expr::Class(class_of(members)),
        Syntax::LiteralObjectExpr { members } => {
            Expr::Object(members.iter().filter_map(object_member).collect())
        }
        Syntax::LiteralArrayExpr { elements } => {
            let of = |element: &ArrayElement| match element {
                ArrayElement::Single(node) | ArrayElement::Rest(node) => Some(expression(node)),
                ArrayElement::Empty => None,
            };
            Expr::Other(elements.iter().filter_map(of).collect())
        }
        Syntax::LiteralTemplateExpr { parts } => {
            let of = |part: &LiteralTemplatePart| match part {
                LiteralTemplatePart::Substitution(node) => Some(expression(node)),
                LiteralTemplatePart::String(_) => None,
            };
            Expr::Other(parts.iter().filter_map(of).collect())
        }
        _ => Expr::Other(Vec::new()),
    }
}

/// `a['b']` is `a.b`.
fn member_of(object: &Node, member: &Node) -> Expr {
    match &*member.stx {
        Syntax::LiteralStringExpr { value } => Expr::Member(boxed(object), value.clone()),
        _ => Expr::Index(boxed(object), boxed(member)),
    }
}

fn operator_of(operator: OperatorName) -> Operator {
    match operator {
        OperatorName::Addition => Operator::Plus,
        OperatorName::Multiplication => Operator::Times,
        OperatorName::Division => Operator::Over,
        OperatorName::Equality | OperatorName::StrictEquality => Operator::Equal,
        OperatorName::Inequality | OperatorName::StrictInequality => Operator::Unequal,
        OperatorName::BitwiseUnsignedRightShift => Operator::Shift,
        OperatorName::BitwiseRightShift => Operator::SignedShift,
        _ => Operator::Other,
    }
}

fn key_of(key: &Key) -> Option<String> {
    match key {
        Key::Direct(name) => Some(name.trim_matches(['"', '\'']).to_owned()),
        Key::Computed(_) => None,
    }
}

fn object_member(node: &Node) -> Option<(String, Expr)> {
    let Syntax::ObjectMember { typ } = &*node.stx else {
        return None;
    };
    match typ {
        ObjectMemberType::Valued { key, value } => {
            let value = match value {
                Value::Property { initializer } => expression(initializer.as_ref()?),
                Value::Getter { function }
                | Value::Method { function }
                | Value::Setter { function } => Expr::Function(function_of(function, node.loc.0)),
            };
            Some((key_of(key)?, value))
        }
        ObjectMemberType::Shorthand { identifier } => {
            Some((name_of(identifier), expression(identifier)))
        }
        ObjectMemberType::Rest { .. } => None,
    }
}

fn class_of(members: &[Node]) -> Class {
    let member = |node: &Node| {
        let Syntax::ClassMember {
            key,
            static_,
            value,
        } = &*node.stx
        else {
            return None;
        };
        let (Value::Method { function } | Value::Getter { function } | Value::Setter { function }) =
            value
        else {
            return None;
        };
        Some(ClassMember {
            name: key_of(key)?,
            is_static: *static_,
            function: function_of(function, node.loc.0),
        })
    };
    Class {
        members: members.iter().filter_map(member).collect(),
    }
}

fn function_of(node: &Node, at: usize) -> Function {
    let at = at.saturating_sub(HEAD.len());
    let Syntax::Function {
        async_,
        parameters,
        body,
        ..
    } = &*node.stx
    else {
        return Function {
            params: Vec::new(),
            body: Vec::new(),
            at,
            is_async: false,
        };
    };
    let param = |node: &Node| match &*node.stx {
        Syntax::ParamDecl { pattern, .. } => name_of(pattern),
        _ => String::new(),
    };
    let body = match &*body.stx {
        Syntax::FunctionBody { body } => statements(body),
        // An arrow function that is one expression.
        _ => vec![Stmt::Return(Some(expression(body)))],
    };
    Function {
        params: parameters.iter().map(param).collect(),
        body,
        at,
        is_async: *async_,
    }
}

/// The name of a variable, a function or a class; nothing for what is taken apart.
fn name_of(node: &Node) -> String {
    match &*node.stx {
        Syntax::IdentifierPattern { name }
        | Syntax::IdentifierExpr { name }
        | Syntax::ClassOrFunctionName { name } => name.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let error = parse("let a = 1;\nlet b = ;\n").unwrap_err();
        assert!(matches!(error, Error::Syntax { line: 2, .. }), "{error}");
        let error = parse("let a = 1;\nclass A {").unwrap_err();
        assert!(matches!(error, Error::Syntax { line: 2, .. }), "{error}");
    }

    #[test]
    fn brackets_without_end_are_refused() {
        let deep = "[".repeat(1_000_000);
        assert!(matches!(parse(&deep), Err(Error::TooDeep { line: 1, .. })));
        assert!(parse(&"(".repeat(DEPTH_MAX)).is_err());
    }

    #[test]
    fn await_stands_at_the_top_and_in_functions() {
        let text = "const a = (await f()).b;\nexport async function g() { return await a; }";
        assert_eq!(parse(text).unwrap().len(), 2);
    }
}
