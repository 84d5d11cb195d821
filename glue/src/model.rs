//! What glue says, as data.

/// What a file of glue says of its module.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Glue {
    /// The functions, methods and fields that call an export, in the file's order.
    pub members: Vec<Member>,
    /// The module's exports that the glue itself needs.
    pub services: Services,
    /// The first slot of the heap of objects that an object can have: 32, 128 or 1024. A module
    /// whose objects are references has none.
    pub first_slot: Option<u32>,
    /// The imports that make a function of a closure.
    pub closures: Vec<Closure>,
    /// The imports that convert a value to an object, and what they convert, in the glue's words.
    pub casts: Vec<Cast>,
}

/// Exports that the glue calls for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Services {
    /// Gives a buffer.
    pub alloc: Option<String>,
    /// Makes a buffer larger.
    pub realloc: Option<String>,
    /// Takes a buffer back.
    pub free: Option<String>,
    /// Where room for results comes from.
    pub stack_pointer: Option<StackPointer>,
    /// Takes an exception.
    pub exception: Option<String>,
}

/// Where the room comes from to which a return pointer points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackPointer {
    /// An export moves the stack pointer, and returns it. So since 0.2.69.
    Function(String),
    /// An exported global is the stack pointer. So in releases before that.
    Global(String),
    /// It is always the same address, below all data. So up to 0.2.64.
    Address(u32),
}

/// A function, a method or a field, and the export behind it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// The name of the export.
    pub export: String,
    /// The class that it belongs to, if it is not a plain function.
    pub class: Option<String>,
    /// The name in JavaScript.
    pub name: String,
    /// What it is.
    pub kind: MemberKind,
    /// What it passes to the export, in order, without a return pointer.
    pub params: Vec<Param>,
    /// What it makes of what the export gives.
    pub outcome: Outcome,
    /// Whether the export can fail with an error that the glue throws.
    pub fails: bool,
    /// Whether the export leaves its results where its first parameter says.
    pub return_pointer: bool,
    /// The type of what it returns, as the comment above it says.
    pub returns: Option<String>,
}

/// The kind of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A function of the module.
    Function,
    /// A class's constructor.
    Constructor,
    /// A function of a class.
    Static,
    /// A method of an object.
    Method,
    /// A field that is read, or a static one.
    Getter,
    /// A field that is written.
    Setter,
    /// What ends an object.
    Free,
}

/// What is passed in one place.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Param {
    /// The name in JavaScript; `this` for the object of a method.
    pub name: String,
    /// How it is passed.
    pub passed: Passed,
    /// Whether nothing (`undefined`) can be passed.
    pub optional: bool,
    /// The number that is passed for nothing, where it is one number and no flag.
    pub none: Option<u64>,
    /// What the glue makes of a number before it passes it, where it says so beside `none`.
    pub coerced: Option<Coerced>,
    /// Whether the glue copies the buffer back into the array that was passed.
    pub written_back: bool,
    /// Its type, as the comment above the function says.
    pub declared: Option<String>,
}

/// The type that the glue makes a number fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coerced {
    /// `x >> 0`
    I32,
    /// `x >>> 0`
    U32,
    /// `Math.fround(x)`
    F32,
}

/// How something is passed to an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// As it is: a number, or a reference where the export takes one. One parameter.
    Plain,
    /// The number 0, always. One parameter.
    Zero,
    /// A number with a flag before it that says whether there is one. Two parameters.
    Flagged,
    /// A number of 64 bits as two halves, the lower one first. Two parameters.
    Halves,
    /// An object of a class. One parameter.
    Object {
        /// The name of its class.
        class: String,
        /// Whether the call takes the object over.
        consumed: bool,
    },
    /// A buffer: its pointer and its length. Two parameters.
    Buffer {
        /// What is in it.
        of: Elements,
        /// Whether the call takes the buffer over, and the glue does not free it.
        moved: bool,
    },
    /// A value of JavaScript: the number of a slot or of a place in a table. One parameter.
    Value {
        /// Whether the host takes it back after the call.
        borrowed: bool,
    },
}

impl Passed {
    /// How many parameters of the export it takes.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Passed::Plain | Passed::Zero | Passed::Object { .. } | Passed::Value { .. } => 1,
            Passed::Flagged | Passed::Halves | Passed::Buffer { .. } => 2,
        }
    }
}

/// What a buffer has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// Text as UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// Numbers of 2 bytes.
    Two,
    /// Numbers of 4 bytes.
    Four,
    /// Numbers of 8 bytes.
    Eight,
    /// Values of JavaScript, or objects of classes, as numbers.
    Values,
}

/// What becomes of the results of an export.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing.
    Nothing,
    /// A number, a truth value or a character; or a reference where the export returns one.
    Plain {
        /// The type in the place that it is read from, if the glue says it.
        at: Slot,
        /// The number that stands for nothing, if one does.
        none: Option<u64>,
    },
    /// A number behind a flag that says whether there is one.
    Flagged {
        /// The flag.
        flag: Slot,
        /// The number.
        value: Slot,
    },
    /// A number of 64 bits as two halves, the lower one first.
    Halves,
    /// An object of a class.
    Object {
        /// The name of its class.
        class: String,
        /// Whether there can be none.
        optional: bool,
    },
    /// A buffer.
    Buffer {
        /// What is in it.
        of: Elements,
        /// Whether the glue frees it, after it has copied it.
        freed: bool,
        /// Whether there can be none.
        optional: bool,
    },
    /// A value of JavaScript that the glue takes out of its slot.
    Value,
    /// Something that this crate does not know.
    Unknown,
}

/// A place that a result is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The result itself, or one of several.
    Result(usize),
    /// A number at so many bytes behind a return pointer.
    Memory(usize, NumberType),
}

/// The type of a number in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// 4 bytes.
    I32,
    /// 8 bytes.
    I64,
    /// 4 bytes.
    F32,
    /// 8 bytes.
    F64,
}

/// An import that makes a function of a closure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closure {
    /// The import's name.
    pub import: String,
    /// The export that runs the closure.
    pub invoke: Option<String>,
    /// What the closure takes, where the glue passes it as it is or as an object. `None` for text,
    /// say, or where the result comes through a pointer.
    pub takes: Option<Vec<Taken>>,
}

/// What an argument of a closure is to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Any value, as an object.
    Object,
    /// The same, lent for the call.
    Borrowed,
    /// A number or a truth value.
    Number,
}

/// An import that converts a value to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cast {
    /// The import's name.
    pub import: String,
    /// What it converts: `Ref(String) -> Externref`.
    pub what: String,
}
