//! wasmer's library calls, made interruptible, and safe at the end of the guest's stack.
//!
//! Compiled code calls `memory.fill` and its kin in wasmer's library. A signal does not end a guest
//! inside one of them (see [`crate::interrupt`]); one can take most of a second, and a loop of them
//! leaves a signal few instants to arrive in. So it calls these instead: long ones work in pieces,
//! and all look at the end whether the call is to end. It finds them in a table of functions in
//! each instance, and what LLVM's calls by address is replaced in its code (see [`crate::relink`]).

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use wasmer_types::{TrapCode, VMBuiltinFunctionIndex};
use wasmer_vm::libcalls::{self, LibCall};
use wasmer_vm::{Trap, VMContext, VMInstance, raise_lib_trap};

use crate::interrupt;

/// Bytes in one piece: a few milliseconds if the pages are new.
const PIECE_BYTES: u32 = 8 << 20;

/// The operations: the index of each in an instance's table of functions, wasmer's name for it in
/// the code of LLVM, if that has one, and what takes its place.
macro_rules! operations {
    ($($index:ident $($call:ident)? => $operation:ident;)*) => {
        fn each_operation(mut put: impl FnMut(VMBuiltinFunctionIndex, *const ())) {
            $(put(VMBuiltinFunctionIndex::$index(), $operation as *const ());)*
        }

        /// What takes the place of a function of the library, if anything does.
        pub(crate) fn replacement(call: LibCall) -> Option<*const ()> {
            match call {
                $($(LibCall::$call => Some($operation as *const ()),)?)*
                _ => None,
            }
        }
    };
}

operations! {
    get_memory_fill_index Memory32Fill => fill;
    get_imported_memory_fill_index ImportedMemory32Fill => imported_fill;
    get_memory_copy_index Memory32Copy => copy;
    get_memory_init_index Memory32Init => init;
    get_memory32_grow_index => grow;
    get_imported_memory32_grow_index => imported_grow;
    get_data_drop_index DataDrop => data_drop;
    get_elem_drop_index ElemDrop => elem_drop;
    get_table_copy_index TableCopy => table_copy;
    get_table_init_index TableInit => table_init;
    get_table_get_index TableGet => table_get;
    get_imported_table_get_index ImportedTableGet => imported_table_get;
    get_table_set_index TableSet => table_set;
    get_imported_table_set_index ImportedTableSet => imported_table_set;
    get_table_fill_index TableFill => table_fill;
    get_table_grow_index TableGrow => table_grow;
    get_imported_table_grow_index ImportedTableGrow => imported_table_grow;
    get_memory_atomic_wait32_index Memory32AtomicWait32 => wait32;
    get_imported_memory_atomic_wait32_index ImportedMemory32AtomicWait32 => imported_wait32;
    get_memory_atomic_wait64_index Memory32AtomicWait64 => wait64;
    get_imported_memory_atomic_wait64_index ImportedMemory32AtomicWait64 => imported_wait64;
    get_raise_trap_index RaiseTrap => raise_trap;
    get_memory_atomic_notify_index Memory32AtomicNotify => notify;
    get_imported_memory_atomic_notify_index ImportedMemory32AtomicNotify => imported_notify;
}

/// Puts the interruptible operations into an instance.
///
/// # Safety
///
/// The instance must be complete, and must not have run yet.
pub(crate) unsafe fn install(instance: NonNull<VMInstance>) {
    // SAFETY: the offsets are those of this instance's context, whose table holds an address of a
    // function for each index; each replacement has the type of what it replaces.
    unsafe {
        let instance = instance.as_ref();
        let context = instance.vmctx_ptr().cast::<usize>();
        each_operation(|index, operation| {
            let offset = instance.vmoffsets().vmctx_builtin_function(index);
            context.byte_add(offset as usize).write(operation.addr());
        });
    }
}

/// Ends the call if it is to end.
///
/// # Safety
///
/// Only on a guest's stack, with nothing that needs dropping on it.
unsafe fn poll() {
    if interrupt::is_current_killed() {
        // SAFETY: as this function requires.
        unsafe { raise_lib_trap(Trap::lib(TrapCode::HostInterrupt)) }
    }
}

/// Runs `operation` on pieces of `0..len`, given as their start and length.
///
/// # Safety
///
/// As for [`poll`].
unsafe fn in_pieces(len: u32, backwards: bool, mut operation: impl FnMut(u32, u32)) {
    let pieces = len.div_ceil(PIECE_BYTES);
    for number in 0..pieces {
        let number = if backwards {
            pieces - 1 - number
        } else {
            number
        };
        let start = number * PIECE_BYTES;
        operation(start, PIECE_BYTES.min(len - start));
        // SAFETY: as this function requires; `operation` borrows and owns nothing.
        unsafe { poll() };
    }
}

/// # Safety
///
/// As for wasmer's function of the name, which is also true of the others below.
unsafe extern "C" fn fill(context: *mut VMContext, memory: u32, to: u32, value: u32, len: u32) {
    // SAFETY: the arguments are those that wasmer's code passes to the original.
    unsafe {
        fill_with(to, len, |to, len| {
            libcalls::wasmer_vm_memory32_fill(context, memory, to, value, len);
        });
    }
}

unsafe extern "C" fn imported_fill(
    context: *mut VMContext,
    memory: u32,
    to: u32,
    value: u32,
    len: u32,
) {
    // SAFETY: the arguments are those that wasmer's code passes to the original.
    unsafe {
        fill_with(to, len, |to, len| {
            libcalls::wasmer_vm_imported_memory32_fill(context, memory, to, value, len);
        });
    }
}

unsafe fn fill_with(to: u32, len: u32, fill: impl Fn(u32, u32)) {
    reserve_stack();
    match to.checked_add(len) {
        Some(end) if len > PIECE_BYTES => {
            // Traps if the whole is out of bounds, before anything is written.
            fill(end, 0);
            // SAFETY: we are on the guest's stack; nothing here needs dropping.
            unsafe { in_pieces(len, false, |start, len| fill(to + start, len)) };
        }
        _ => {
            fill(to, len);
            // SAFETY: as above.
            unsafe { poll() };
        }
    }
}

unsafe extern "C" fn copy(
    context: *mut VMContext,
    to_memory: u32,
    from_memory: u32,
    to: u32,
    from: u32,
    len: u32,
) {
    reserve_stack();
    // SAFETY: the arguments are those that wasmer's code passes to the original; we are on the
    // guest's stack, and nothing here needs dropping.
    unsafe {
        let copy = |to, from, len| {
            libcalls::wasmer_vm_memory32_copy(context, to_memory, from_memory, to, from, len);
        };
        match (to.checked_add(len), from.checked_add(len)) {
            (Some(to_end), Some(from_end)) if len > PIECE_BYTES => {
                copy(to_end, from_end, 0);
                // What is still to be read must not be overwritten.
                in_pieces(len, to > from, |start, len| {
                    copy(to + start, from + start, len);
                });
            }
            _ => {
                copy(to, from, len);
                poll();
            }
        }
    }
}

/// Functions that do what wasmer's do, and then look whether the call is to end.
macro_rules! polled {
    ($($name:ident => $original:ident($($arg:ident: $ty:ty),*) $(-> $result:ty)?;)*) => {$(
        unsafe extern "C" fn $name(context: *mut VMContext, $($arg: $ty),*) $(-> $result)? {
            reserve_stack();
            // SAFETY: the arguments are those that wasmer's code passes to the original; we are on
            // the guest's stack, and nothing here needs dropping.
            unsafe {
                let result = libcalls::$original(context, $($arg),*);
                poll();
                result
            }
        }
    )*};
}

polled! {
    grow => wasmer_vm_memory32_grow(delta: u32, memory: u32) -> u32;
    imported_grow => wasmer_vm_imported_memory32_grow(delta: u32, memory: u32) -> u32;
    init => wasmer_vm_memory32_init(memory: u32, data: u32, to: u32, from: u32, len: u32);
    data_drop => wasmer_vm_data_drop(data: u32);
    elem_drop => wasmer_vm_elem_drop(elements: u32);
    table_copy => wasmer_vm_table_copy(to_table: u32, from_table: u32, to: u32, from: u32, len: u32);
    table_init => wasmer_vm_table_init(table: u32, elements: u32, to: u32, from: u32, len: u32);
    wait32 => wasmer_vm_memory32_atomic_wait32(
        memory: u32, address: u32, expected: u32, timeout: i64
    ) -> u32;
    imported_wait32 => wasmer_vm_imported_memory32_atomic_wait32(
        memory: u32, address: u32, expected: u32, timeout: i64
    ) -> u32;
    wait64 => wasmer_vm_memory32_atomic_wait64(
        memory: u32, address: u32, expected: u64, timeout: i64
    ) -> u32;
    imported_wait64 => wasmer_vm_imported_memory32_atomic_wait64(
        memory: u32, address: u32, expected: u64, timeout: i64
    ) -> u32;
    notify => wasmer_vm_memory32_atomic_notify(memory: u32, address: u32, count: u32) -> u32;
    imported_notify => wasmer_vm_imported_memory32_atomic_notify(
        memory: u32, address: u32, count: u32
    ) -> u32;
}

/// The same for functions that take or give an element of a table. wasmer does not name its type, a
/// union of two pointers, which the machines supported pass as one.
macro_rules! polled_with_elements {
    ($($name:ident => $original:ident($($arg:ident: $ty:ty),*) $(-> $result:ty)?;)*) => {$(
        unsafe extern "C" fn $name(context: *mut VMContext, $($arg: $ty),*) $(-> $result)? {
            type Original = unsafe extern "C" fn(*mut VMContext, $($ty),*) $(-> $result)?;
            reserve_stack();
            // SAFETY: as in `polled`, with a pointer for an element, see above.
            unsafe {
                let original = libcalls::$original as *const ();
                let original = std::mem::transmute::<*const (), Original>(original);
                let result = original(context, $($arg),*);
                poll();
                result
            }
        }
    )*};
}

polled_with_elements! {
    table_get => wasmer_vm_table_get(table: u32, at: u32) -> usize;
    imported_table_get => wasmer_vm_imported_table_get(table: u32, at: u32) -> usize;
    table_set => wasmer_vm_table_set(table: u32, at: u32, element: usize);
    imported_table_set => wasmer_vm_imported_table_set(table: u32, at: u32, element: usize);
    table_fill => wasmer_vm_table_fill(table: u32, to: u32, element: usize, len: u32);
    table_grow => wasmer_vm_table_grow(element: usize, delta: u32, table: u32) -> u32;
    imported_table_grow => wasmer_vm_imported_table_grow(
        element: usize, delta: u32, table: u32
    ) -> u32;
}

unsafe extern "C" fn raise_trap(code: TrapCode) -> ! {
    reserve_stack();
    // SAFETY: wasmer's code calls this where it would call the original.
    unsafe { libcalls::wasmer_vm_raise_trap(code) }
}

/// Overflows the guest's stack here, if it would overflow in the library call that follows.
///
/// A call that traps captures a backtrace first, on the guest's stack, with the allocator's and the
/// unwinder's locks held. An overflow in there would be a trap like any other, and leave them
/// locked.
#[inline(never)]
fn reserve_stack() {
    #[expect(clippy::large_stack_arrays, reason = "its size is its purpose")]
    // The compiler touches a large frame page by page, so the guard page cannot be skipped.
    let mut room = [MaybeUninit::<u8>::uninit(); 32 << 10];
    std::hint::black_box(&mut room);
}
