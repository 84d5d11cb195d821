//! The functions of preview 1, by what their parameters mean. The types follow from the meaning.

use std::future::Future;
use std::pin::Pin;

use engine_api::{FuncType, Val, ValType};
use wasi_common::WasiCtx;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1 as preview_1;
use wiggle::GuestMemory;
use wiggle::anyhow::Result;

use crate::scratch::Filled;

/// What one or more parameters of a function mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    /// A number of 32 bits.
    Int,
    /// A number of 64 bits.
    Long,
    /// A descriptor.
    Descriptor,
    /// Pointer and length of a path.
    Text,
    /// Pointer and length of a list of pieces that the function reads.
    Data,
    /// Pointer and length of a list of pieces that the function fills.
    Space,
    /// Pointer and length of bytes that the function fills.
    Buffer(Filled),
    /// Pointer to a result of so many bytes, at an address that is a multiple of them or of 8.
    Result(usize),
    /// Pointer to a description of a preopened folder: 8 bytes, at a multiple of 4.
    Prestat,
    /// Pointers to subscriptions and to events, and the number of both.
    Subscriptions,
}

use Param::{
    Buffer, Data, Descriptor, Int, Long, Prestat, Result as Out, Space, Subscriptions, Text,
};

impl Param {
    /// How many of its parameters are addresses. They come first.
    fn addresses(self) -> usize {
        match self {
            Int | Long | Descriptor => 0,
            Text | Data | Space | Buffer(_) | Out(_) | Prestat => 1,
            Subscriptions => 2,
        }
    }

    fn types(self) -> &'static [ValType] {
        match self {
            Int | Descriptor | Out(_) | Prestat => &[ValType::I32],
            Long => &[ValType::I64],
            Text | Data | Space | Buffer(_) => &[ValType::I32, ValType::I32],
            Subscriptions => &[ValType::I32, ValType::I32, ValType::I32],
        }
    }
}

/// What happens if a call is made a second time, because the first one died in its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twice {
    /// Nothing outside has changed.
    Harmless,
    /// A file, an offset or the table of descriptors has changed.
    Harmful,
}

/// What a function does to the table of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// It looks descriptors up.
    Reads,
    /// Its first result is a new descriptor.
    Opens,
    /// It closes its first argument, or moves it to the number that is its second.
    Closes,
    /// It changes an entry, which nothing else may use meanwhile.
    Changes,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<i32>> + 'a>>;

/// A function of preview 1.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Param],
    pub(crate) twice: Twice,
    pub(crate) table: Table,
    /// The implementation, with addresses of the memory that it is given.
    pub(crate) run: for<'a> fn(&'a mut WasiCtx, &'a mut GuestMemory<'a>, &'a [Val]) -> Running<'a>,
}

impl Function {
    pub(crate) fn ty(&self) -> FuncType {
        let params = self.params.iter().flat_map(|param| param.types());
        FuncType::new(&params.copied().collect::<Vec<_>>(), &[ValType::I32])
    }

    /// Its arguments without addresses, which are those of one instance.
    pub(crate) fn comparable(&self, args: &[Val]) -> Vec<Val> {
        let mut args = args.iter().cloned();
        let mut comparable = Vec::new();
        for param in self.params {
            let own = args.by_ref().take(param.types().len());
            // The length of something is the last of its parameters.
            comparable.extend(own.skip(param.addresses()));
        }
        comparable
    }

    /// The descriptors among its arguments.
    pub(crate) fn descriptors<'a>(&self, args: &'a [Val]) -> impl Iterator<Item = u32> + 'a {
        let mut at = 0;
        let mut positions = Vec::new();
        for param in self.params {
            if *param == Descriptor {
                positions.push(at);
            }
            at += param.types().len();
        }
        positions
            .into_iter()
            .filter_map(|at| args.get(at)?.i32().map(i32::cast_unsigned))
    }
}

/// A number that a function takes.
trait Number {
    fn of(val: &Val) -> Self;
}

impl Number for i32 {
    fn of(val: &Val) -> Self {
        val.i32().expect("the call was checked against the type")
    }
}

impl Number for i64 {
    fn of(val: &Val) -> Self {
        val.i64().expect("the call was checked against the type")
    }
}

macro_rules! functions {
    ($($name:ident($($param:expr),*) by ($($at:literal),*) $twice:ident $table:ident;)+) => {
        /// Every function but those that `world` serves itself.
        pub(crate) static FUNCTIONS: &[Function] = &[$(Function {
            name: stringify!($name),
            params: &[$($param),*],
            twice: Twice::$twice,
            table: Table::$table,
            run: |context, memory, args| {
                let _ = args;
                Box::pin(preview_1::$name(context, memory, $(Number::of(&args[$at])),*))
            },
        }),+];
    };
}

functions! {
    clock_res_get(Int, Out(8)) by (0, 1) Harmless Reads;
    clock_time_get(Int, Long, Out(8)) by (0, 1, 2) Harmless Reads;
    fd_advise(Descriptor, Long, Long, Int) by (0, 1, 2, 3) Harmless Reads;
    fd_allocate(Descriptor, Long, Long) by (0, 1, 2) Harmless Reads;
    fd_close(Descriptor) by (0) Harmful Closes;
    fd_datasync(Descriptor) by (0) Harmless Reads;
    fd_fdstat_get(Descriptor, Out(24)) by (0, 1) Harmless Reads;
    fd_fdstat_set_flags(Descriptor, Int) by (0, 1) Harmful Changes;
    fd_fdstat_set_rights(Descriptor, Long, Long) by (0, 1, 2) Harmless Reads;
    fd_filestat_get(Descriptor, Out(64)) by (0, 1) Harmless Reads;
    fd_filestat_set_size(Descriptor, Long) by (0, 1) Harmful Reads;
    fd_filestat_set_times(Descriptor, Long, Long, Int) by (0, 1, 2, 3) Harmful Reads;
    fd_pread(Descriptor, Space, Long, Out(4)) by (0, 1, 2, 3, 4) Harmless Reads;
    fd_prestat_get(Descriptor, Prestat) by (0, 1) Harmless Reads;
    fd_prestat_dir_name(Descriptor, Buffer(Filled::All)) by (0, 1, 2) Harmless Reads;
    fd_pwrite(Descriptor, Data, Long, Out(4)) by (0, 1, 2, 3, 4) Harmful Reads;
    fd_read(Descriptor, Space, Out(4)) by (0, 1, 2, 3) Harmful Reads;
    fd_readdir(Descriptor, Buffer(Filled::Result), Long, Out(4)) by (0, 1, 2, 3, 4) Harmless Reads;
    fd_renumber(Descriptor, Descriptor) by (0, 1) Harmful Closes;
    fd_seek(Descriptor, Long, Int, Out(8)) by (0, 1, 2, 3) Harmful Reads;
    fd_sync(Descriptor) by (0) Harmless Reads;
    fd_tell(Descriptor, Out(8)) by (0, 1) Harmless Reads;
    fd_write(Descriptor, Data, Out(4)) by (0, 1, 2, 3) Harmful Reads;
    path_create_directory(Descriptor, Text) by (0, 1, 2) Harmful Reads;
    path_filestat_get(Descriptor, Int, Text, Out(64)) by (0, 1, 2, 3, 4) Harmless Reads;
    path_filestat_set_times(Descriptor, Int, Text, Long, Long, Int) by (0, 1, 2, 3, 4, 5, 6)
        Harmful Reads;
    path_link(Descriptor, Int, Text, Descriptor, Text) by (0, 1, 2, 3, 4, 5, 6) Harmful Reads;
    path_open(Descriptor, Int, Text, Int, Long, Long, Int, Out(4)) by (0, 1, 2, 3, 4, 5, 6, 7, 8)
        Harmful Opens;
    path_readlink(Descriptor, Text, Buffer(Filled::Result), Out(4)) by (0, 1, 2, 3, 4, 5)
        Harmless Reads;
    path_remove_directory(Descriptor, Text) by (0, 1, 2) Harmful Reads;
    path_rename(Descriptor, Text, Descriptor, Text) by (0, 1, 2, 3, 4, 5) Harmful Reads;
    path_symlink(Text, Descriptor, Text) by (0, 1, 2, 3, 4) Harmful Reads;
    path_unlink_file(Descriptor, Text) by (0, 1, 2) Harmful Reads;
    poll_oneoff(Subscriptions, Out(4)) by (0, 1, 2, 3) Harmless Reads;
    random_get(Buffer(Filled::All)) by (0, 1) Harmless Reads;
    sched_yield() by () Harmless Reads;
    sock_accept(Descriptor, Int, Out(4)) by (0, 1, 2) Harmful Opens;
    sock_recv(Descriptor, Space, Int, Out(4), Out(2)) by (0, 1, 2, 3, 4, 5) Harmful Reads;
    sock_send(Descriptor, Data, Int, Out(4)) by (0, 1, 2, 3, 4) Harmful Reads;
    sock_shutdown(Descriptor, Int) by (0, 1) Harmful Reads;
}

/// The function of that name.
pub(crate) fn named(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_from_what_parameters_mean() {
        let open = named("path_open").expect("it is in the table").ty();
        let (int, long) = (ValType::I32, ValType::I64);
        let expected = [int, int, int, int, int, long, long, int, int];
        assert_eq!(open, FuncType::new(&expected, &[int]));
    }

    #[test]
    fn addresses_are_not_compared_and_lengths_are() {
        let open = named("path_open").expect("it is in the table");
        let args: Vec<Val> = (0..9).map(Val::I32).collect();
        let expected = [0, 1, 3, 4, 5, 6, 7].map(Val::I32);
        assert_eq!(open.comparable(&args), expected);
        let poll = named("poll_oneoff").expect("it is in the table");
        assert_eq!(poll.comparable(&args[..4]), [Val::I32(2)]);
    }

    #[test]
    fn every_descriptor_among_the_arguments_is_found() {
        let args: Vec<Val> = (10..16).map(Val::I32).collect();
        let rename = named("path_rename").expect("it is in the table");
        assert_eq!(rename.descriptors(&args).collect::<Vec<_>>(), [10, 13]);
    }
}
