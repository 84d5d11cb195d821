//! Wasmer's library calls, made interruptible, and safe at the end of the guest's stack.
//!
//! Compiled code calls wasmer's library for `memory.fill` and similar operations. A signal does not
//! end a guest inside such a call (see [`crate::interrupt`]); a call can take most of a second, and
//! a loop of calls leaves a signal few instants to arrive in. So compiled code calls the functions
//! here instead: long ones work in pieces, and all of them check at their end whether the guest's
//! call must end. Compiled code finds them in a table in each instance. LLVM's code contains
//! addresses, which are replaced (see [`crate::relink`]).

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use wasmer_types::{TrapCode, VMBuiltinFunctionIndex};
use wasmer_vm::libcalls::{self, LibCall};
use wasmer_vm::{Trap, VMContext, VMInstance, raise_lib_trap};

use crate::interrupt;

/// The bytes of one piece. It takes a few milliseconds if the pages are new.
const PIECE_BYTES: u32 = 8 << 20;

/// Lists the operations: the index in an instance's table of functions, wasmer's name for it in
/// LLVM's code, if it has one there, and the function that replaces it.
macro_rules! operations {
    ($($index:ident $($call:ident)? => $operation:ident;)*) => {
        fn each_operation(mut put: impl FnMut(VMBuiltinFunctionIndex, *const ())) {
            $(put(VMBuiltinFunctionIndex::$index(), $operation as *const ());)*
        }

        /// The replacement of a library function, if it has one.
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

/// Puts the interruptible operations into an instance's table of functions.
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

/// Ends the guest's call if it must end.
///
/// # Safety
///
/// It must run on a guest's stack, with nothing on it that needs dropping.
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
            // Traps if the whole range is out of bounds, before anything is written.
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
                // In this order, no piece overwrites bytes that a later one reads.
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

/// Functions that call wasmer's function, and then check whether the guest's call must end.
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

/// The same for functions that take or return an element of a table. Its type is private to wasmer:
/// a union of two pointers, which the supported machines pass like a pointer.
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
/// A library call that traps first captures a backtrace, on the guest's stack, while it holds locks
/// of the allocator and the unwinder. An overflow there would end the guest and leave them locked.
#[inline(never)]
fn reserve_stack() {
    #[expect(clippy::large_stack_arrays, reason = "its size is its purpose")]
    // The compiler touches a large frame page by page, so it cannot skip the guard page.
    let mut room = [MaybeUninit::<u8>::uninit(); 32 << 10];
    std::hint::black_box(&mut room);
}
