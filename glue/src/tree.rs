//! Glue as a small tree: what the rest of this crate looks at, and nothing else of the language.

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// A variable.
    Name(String),
    /// `this`
    This,
    /// A number.
    Number(f64),
    /// `left.right`
    Member(Box<Expr>, String),
    /// `left[right]`
    Index(Box<Expr>, Box<Expr>),
    /// `callee(arguments)`, also with `new`
    Call(Box<Expr>, Vec<Expr>),
    /// `left OPERATOR right`
    Binary(Operator, Box<Expr>, Box<Expr>),
    /// `!inner`
    Not(Box<Expr>),
    /// `test ? then : otherwise`
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `left = right`
    Assign(Box<Expr>, Box<Expr>),
    /// A function, an arrow function included.
    Function(Function),
    /// A class.
    Class(Class),
    /// `{ key: value }`, and the methods of it.
    Object(Vec<(String, Expr)>),
    /// Another expression, by the parts in it.
    Other(Vec<Expr>),
}

/// An operator of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `+`
    Plus,
    /// `*`
    Times,
    /// `/`
    Over,
    /// `===` and `==`
    Equal,
    /// `!==` and `!=`
    Unequal,
    /// `>>>`
    Shift,
    /// `>>`
    SignedShift,
    /// Another one.
    Other,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stmt {
    /// `let name = value`
    Let(String, Option<Expr>),
    /// An expression.
    Expr(Expr),
    /// `return value`
    Return(Option<Expr>),
    /// `throw value`
    Throw(Expr),
    /// `if (test) then`, with what is in its `else`.
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    /// Statements one after the other: those of a block, a loop, or all parts of a `try`.
    Block(Vec<Stmt>),
    /// A function with a name.
    Function(String, Function),
    /// A class with a name.
    Class(String, Class),
}

/// A function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Function {
    /// The names of its parameters; one that is taken apart has no name.
    pub(crate) params: Vec<String>,
    pub(crate) body: Vec<Stmt>,
    /// Where it begins in the file, or its name if it has one.
    pub(crate) at: usize,
    pub(crate) is_async: bool,
}

/// A class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Class {
    pub(crate) members: Vec<ClassMember>,
}

/// A method, a getter or a setter of a class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassMember {
    pub(crate) name: String,
    pub(crate) is_static: bool,
    pub(crate) function: Function,
}

impl Expr {
    /// The name of a variable.
    pub(crate) fn as_name(&self) -> Option<&str> {
        match self {
            Expr::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is the number 0.
    pub(crate) fn is_zero(&self) -> bool {
        matches!(self, Expr::Number(number) if *number == 0.0)
    }

    /// The called name and the arguments, for a call of a plain function.
    pub(crate) fn as_call(&self) -> Option<(&str, &[Expr])> {
        match self {
            Expr::Call(callee, arguments) => Some((callee.as_name()?, arguments)),
            _ => None,
        }
    }

    /// The object, the method's name and the arguments, for a call of a method.
    pub(crate) fn as_method(&self) -> Option<(&Expr, &str, &[Expr])> {
        match self {
            Expr::Call(callee, arguments) => match &**callee {
                Expr::Member(object, name) => Some((object, name, arguments)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The name of an export and the arguments, for a call through `wasm`.
    pub(crate) fn as_export(&self) -> Option<(&str, &[Expr])> {
        let (object, name, arguments) = self.as_method()?;
        (object.as_name() == Some("wasm")).then_some((name, arguments))
    }

    /// The expressions right inside of it.
    pub(crate) fn parts(&self) -> Vec<&Expr> {
        match self {
            Expr::Name(_) | Expr::This | Expr::Number(_) | Expr::Function(_) | Expr::Class(_) => {
                Vec::new()
            }
            Expr::Member(left, _) | Expr::Not(left) => vec![left],
            Expr::Index(left, right) | Expr::Binary(_, left, right) | Expr::Assign(left, right) => {
                vec![left, right]
            }
            Expr::Call(callee, arguments) => {
                let mut parts = vec![&**callee];
                parts.extend(arguments);
                parts
            }
            Expr::Choice(test, then, otherwise) => vec![test, then, otherwise],
            Expr::Object(members) => members.iter().map(|(_, value)| value).collect(),
            Expr::Other(parts) => parts.iter().collect(),
        }
    }

    /// The first expression in it, itself included, for which a test gives something.
    pub(crate) fn find<'a, T>(&'a self, test: &impl Fn(&'a Expr) -> Option<T>) -> Option<T> {
        test(self).or_else(|| self.parts().into_iter().find_map(|part| part.find(test)))
    }
}

/// Looks at every statement in order, those inside of other statements included, but not those of
/// inner functions.
pub(crate) fn each<'a>(statements: &'a [Stmt], see: &mut impl FnMut(&'a Stmt)) {
    for statement in statements {
        see(statement);
        match statement {
            Stmt::If(_, then, otherwise) => {
                each(then, see);
                each(otherwise, see);
            }
            Stmt::Block(inner) => each(inner, see),
            _ => {}
        }
    }
}
