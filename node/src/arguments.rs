//! The arguments of one call, from the cells and the staging buffer.

use engine_api::{Val, ValType};
use proxy_core::{Arg, ArgKind, Coercion, Handle, JsPassing, Pointer, Width};

use crate::cells::{Cells, Span};
use crate::names::{Named, Names};
use crate::session::Stopped;
use crate::surface::Export;

/// The lists of objects that a call passes. They are made first, so that arguments can borrow them.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    handles: Vec<Vec<Handle>>,
    pointers: Vec<Vec<Pointer>>,
}

/// A struct that is absent, as bytes.
const NO_STRUCT: &[u8] = &[0];

/// Whether an argument is a list of objects, which the guest takes over with them.
fn is_list(kind: &ArgKind) -> bool {
    matches!(
        kind,
        ArgKind::Handles(_) | ArgKind::Pointers | ArgKind::Structs(_)
    )
}

/// How many cells an argument takes.
fn cells_of(kind: &ArgKind) -> usize {
    match kind.inner() {
        ArgKind::Js(JsPassing::List) => 2,
        ArgKind::Js(_) => 1,
        _ => kind.width(),
    }
}

fn bytes_of(width: Width) -> u32 {
    width.bytes()
}

/// A buffer in two cells: its start, and its length.
fn span_at(cells: &Cells<'_>, at: usize) -> Span {
    Span {
        start: cells.word(at),
        len: cells.word(at + 1),
    }
}

impl Lists {
    pub(crate) fn of(
        export: &Export,
        cells: &Cells<'_>,
        staging: &[u8],
        names: &Names,
    ) -> Result<Self, Stopped> {
        let mut lists = Self::default();
        let mut at = 0;
        for (kind, _) in &export.args {
            let inner = kind.inner();
            if is_list(inner) {
                let bytes = span_at(cells, at)
                    .of(staging, 4)
                    .ok_or_else(|| Stopped::outside(export))?;
                let listed = bytes.as_chunks::<4>().0.iter();
                let objects = listed
                    .map(|word| found(export, names, u32::from_le_bytes(*word)))
                    .collect::<Result<Vec<_>, _>>()?;
                lists.add(export, inner, &objects)?;
            }
            at += cells_of(kind);
        }
        Ok(lists)
    }

    fn add(&mut self, export: &Export, kind: &ArgKind, objects: &[Named]) -> Result<(), Stopped> {
        let (mut handles, mut pointers) = (Vec::new(), Vec::new());
        for object in objects {
            match object {
                Named::Handle(handle) => handles.push(*handle),
                Named::Pointer(pointer) => pointers.push(*pointer),
            }
        }
        if matches!(kind, ArgKind::Pointers | ArgKind::Structs(_)) {
            if !handles.is_empty() {
                return Err(Stopped::refused(format!(
                    "`{}` was given a list with lasting objects, and the policy says `{kind}`; change the entry",
                    export.name
                )));
            }
            self.pointers.push(pointers);
        } else {
            if !pointers.is_empty() {
                return Err(Stopped::refused(format!(
                    "`{}` was given a list with passing objects, and the policy says `handles`; change the entry",
                    export.name
                )));
            }
            self.handles.push(handles);
        }
        Ok(())
    }
}

/// The object with a name that an argument has.
fn found(export: &Export, names: &Names, name: u32) -> Result<Named, Stopped> {
    if name == 0 {
        // The words of wasm-bindgen's own code in the guest.
        return Err(Stopped::thrown("null pointer passed to rust"));
    }
    names.get(name).ok_or_else(|| {
        Stopped::refused(format!(
            "`{}` was given object {name}, which is gone: it was freed or used up, or it was an object of an earlier \
             turn of the event loop",
            export.name
        ))
    })
}

/// The arguments of a call. Texts and buffers are borrowed from the staging buffer.
pub(crate) fn read<'a>(
    export: &Export,
    cells: &Cells<'_>,
    staging: &'a [u8],
    names: &Names,
    lists: &'a Lists,
) -> Result<Vec<Arg<'a>>, Stopped> {
    let (mut handles, mut pointers) = (lists.handles.iter(), lists.pointers.iter());
    let mut args = Vec::with_capacity(export.args.len());
    let mut at = 0;
    for (kind, ty) in &export.args {
        let inner = kind.inner();
        let is_null = matches!(kind, ArgKind::Optional(_)) && cells.word(at) == 0;
        args.push(match inner {
            ArgKind::Handles(_) => Arg::Handles(handles.next().map_or(&[], Vec::as_slice)),
            ArgKind::Pointers | ArgKind::Structs(_) => {
                Arg::Pointers(pointers.next().map_or(&[], Vec::as_slice))
            }
            _ if is_null => Arg::NULL,
            _ => {
                let at = at + usize::from(kind.is_flagged());
                one(export, inner, *ty, (cells, at), staging, names)?
            }
        });
        at += cells_of(kind);
    }
    Ok(args)
}

fn one<'a>(
    export: &Export,
    kind: &ArgKind,
    ty: ValType,
    (cells, at): (&Cells<'_>, usize),
    staging: &'a [u8],
    names: &Names,
) -> Result<Arg<'a>, Stopped> {
    let outside = || Stopped::outside(export);
    let text = |span: Span| -> Result<&'a str, Stopped> {
        let bytes = span.of(staging, 1).ok_or_else(outside)?;
        str::from_utf8(bytes).map_err(|_| {
            Stopped::refused(format!(
                "`{}` was given text that is not UTF-8",
                export.name
            ))
        })
    };
    Ok(match kind {
        ArgKind::Struct(_) if cells.word(at) == 0 => Arg::Bytes(NO_STRUCT),
        ArgKind::Handle(_) | ArgKind::Pointer | ArgKind::Struct(_) => {
            match found(export, names, cells.word(at))? {
                Named::Handle(handle) => Arg::Handle(handle),
                Named::Pointer(pointer) => Arg::Pointer(pointer),
            }
        }
        ArgKind::Bytes(_) => Arg::Bytes(span_at(cells, at).of(staging, 1).ok_or_else(outside)?),
        ArgKind::Numbers(width, _) => {
            let span = span_at(cells, at);
            Arg::Bytes(span.of(staging, bytes_of(*width)).ok_or_else(outside)?)
        }
        ArgKind::Text(_) => Arg::Text(text(span_at(cells, at))?),
        ArgKind::Js(_) => Arg::Js(text(cells.span(at))?),
        // The glue has made it fit already, and no number that fits is the one for nothing.
        ArgKind::OrNull(number, coercion) if *coercion != Coercion::AsIs => {
            let value = cells.value(at, ty).ok_or_else(outside)?;
            #[expect(clippy::cast_precision_loss, reason = "it is below 2^53")]
            let none = Val::from(*number as f64);
            if value == none {
                Arg::NULL
            } else {
                Arg::Val(value)
            }
        }
        _ => Arg::Val(cells.value(at, ty).ok_or_else(outside)?),
    })
}

/// The names of the objects that a call with these cells has ended, if it was made.
pub(crate) fn used_up(export: &Export, cells: &Cells<'_>, staging: &[u8]) -> Vec<u32> {
    let mut names = Vec::new();
    let mut at = 0;
    for (position, (kind, _)) in export.args.iter().enumerate() {
        match kind.inner() {
            kind if is_list(kind) => {
                let bytes = span_at(cells, at).of(staging, 4).unwrap_or_default();
                names.extend(
                    bytes
                        .as_chunks::<4>()
                        .0
                        .iter()
                        .map(|word| u32::from_le_bytes(*word)),
                );
            }
            ArgKind::Struct(_) => names.push(cells.word(at)),
            ArgKind::Handle(_) | ArgKind::Pointer
                if export.frees || export.consumes.contains(&position) =>
            {
                names.push(cells.word(at));
            }
            _ => {}
        }
        at += cells_of(kind);
    }
    names
}

#[cfg(test)]
mod tests {
    use proxy_core::SequenceNumber;

    use super::*;
    use crate::cells::CELL;

    fn structs() -> Export {
        let of = || "point".to_owned();
        Export::taking(vec![
            (ArgKind::Structs(of()), ValType::I32),
            (ArgKind::Struct(of()), ValType::I32),
        ])
    }

    /// A list of two words at 8, and one word.
    fn given<R>(
        list: [u32; 2],
        one: u32,
        names: &Names,
        look: impl FnOnce(Result<Vec<Arg<'_>>, Stopped>, Vec<u32>) -> R,
    ) -> R {
        let export = structs();
        let mut bytes = [0; 3 * CELL];
        let mut cells = Cells::new(&mut bytes);
        for (at, word) in [8, 2, one].into_iter().enumerate() {
            cells.set_word(at, word);
        }
        let mut staging = [0; 16];
        for (at, word) in list.into_iter().enumerate() {
            staging[8 + 4 * at..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let used_up = used_up(&export, &cells, &staging);
        match Lists::of(&export, &cells, &staging, names) {
            Ok(lists) => look(read(&export, &cells, &staging, names, &lists), used_up),
            Err(stopped) => look(Err(stopped), used_up),
        }
    }

    #[test]
    fn structs_are_objects_that_the_call_takes_over() {
        let mut names = Names::default();
        let points = [1, 2, 3].map(|bits| Pointer::new(bits, 7));
        let [a, b, c] = points.map(|point| names.give(Named::Pointer(point)).unwrap());
        given([b, a], c, &names, |args, used_up| {
            let listed = [points[1], points[0]];
            let expected = vec![Arg::Pointers(&listed), Arg::Pointer(points[2])];
            assert_eq!(args.unwrap(), expected);
            assert_eq!(used_up, [b, a, c]);
        });
    }

    #[test]
    fn a_struct_may_be_absent_and_one_of_a_list_may_not() {
        let mut names = Names::default();
        let point = Pointer::new(1, 7);
        let name = names.give(Named::Pointer(point)).unwrap();
        given([name, name], 0, &names, |args, _| {
            assert_eq!(args.unwrap()[1], Arg::Bytes(&[0]));
        });
        given([name, 0], name, &names, |args, _| {
            assert!(matches!(args, Err(Stopped::Thrown(_))));
        });
    }

    #[test]
    fn a_lasting_object_is_refused_in_a_list_of_structs() {
        let mut names = Names::default();
        let lasting = Handle::new(SequenceNumber(1), 0, 1);
        let name = names.give(Named::Handle(lasting)).unwrap();
        given([name, name], 0, &names, |args, _| match args {
            Err(Stopped::Refused(said)) => assert!(said.contains("`structs:point`"), "{said}"),
            other => panic!("{other:?}"),
        });
    }
}
