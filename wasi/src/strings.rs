//! Arguments and environment. They lie in a guest's memory with pointers to them, which only code
//! that knows the guest's addresses can write.

use engine_api::{Caller, Error, MemoryIndex};

/// Texts as a guest gets them: each ends with a zero byte.
#[derive(Debug)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    count: u32,
}

impl Strings {
    pub(crate) fn new(
        what: &'static str,
        texts: impl IntoIterator<Item = String>,
    ) -> Result<Self, crate::Error> {
        let refused = |reason| crate::Error::Strings { what, reason };
        let (mut bytes, mut count) = (Vec::new(), 0);
        for text in texts {
            if text.contains('\0') {
                return Err(refused("there is a zero byte in one"));
            }
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
            count += 1;
        }
        u32::try_from(bytes.len()).map_err(|_| refused("there are 4 GiB of them"))?;
        Ok(Self { bytes, count })
    }

    /// Their number and their size in bytes.
    pub(crate) fn sizes(&self) -> (u32, u32) {
        let bytes = u32::try_from(self.bytes.len()).expect("they were checked to be fewer");
        (self.count, bytes)
    }

    /// Writes the texts to `buffer` and pointers to them to `pointers`.
    pub(crate) fn write(
        &self,
        caller: &mut dyn Caller,
        memory: MemoryIndex,
        pointers: u32,
        buffer: u32,
    ) -> Result<(), Error> {
        write(caller, memory, &self.bytes, pointers, buffer)
    }
}

/// Writes texts, each with a zero byte at its end, and pointers to them.
pub(crate) fn write(
    caller: &mut dyn Caller,
    memory: MemoryIndex,
    texts: &[u8],
    pointers: u32,
    buffer: u32,
) -> Result<(), Error> {
    caller.memory_write(memory, buffer.into(), texts)?;
    let mut list = Vec::new();
    let mut address = buffer;
    for text in texts.split_inclusive(|byte| *byte == 0) {
        list.extend_from_slice(&address.to_le_bytes());
        // They lie inside the memory, or the write had failed.
        address = address.wrapping_add(u32::try_from(text.len()).unwrap_or_default());
    }
    caller.memory_write(memory, pointers.into(), &list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_with_the_zero_byte_at_their_end() {
        let texts = ["a".to_owned(), String::new(), "bcd".to_owned()];
        let strings = Strings::new("the arguments", texts).unwrap();
        assert_eq!(strings.sizes(), (3, 2 + 1 + 4));
        assert_eq!(strings.bytes, b"a\0\0bcd\0");
    }

    #[test]
    fn a_zero_byte_in_a_text_is_refused() {
        let error = Strings::new("the environment", ["A=\0".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("the environment"), "{error}");
    }
}
