//! Objects that live in the module; the host holds their addresses.

use wasm_bindgen::prelude::*;

/// Counts up.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct Counter {
    value: u32,
    /// A public field gets a getter and a setter.
    pub step: u32,
}

#[wasm_bindgen]
impl Counter {
    /// Starts at `value`, in steps of one.
    #[wasm_bindgen(constructor)]
    pub fn new(value: u32) -> Counter {
        Counter { value, step: 1 }
    }

    /// A function of the class, not of an object.
    pub fn zero() -> Counter {
        Counter::new(0)
    }

    /// Borrows the counter.
    pub fn peek(&self) -> u32 {
        self.value
    }

    /// Changes the counter and gives its new value.
    pub fn increment(&mut self) -> u32 {
        self.value = self.value.wrapping_add(self.step);
        self.value
    }

    /// Takes another counter by reference.
    pub fn add(&mut self, other: &Counter) {
        self.value = self.value.wrapping_add(other.value);
    }

    /// Consumes the counter: its address is dead afterwards.
    pub fn finish(self) -> u32 {
        self.value
    }

    /// Consumes two counters and gives one.
    pub fn merge(self, other: Counter) -> Counter {
        Counter {
            value: self.value.wrapping_add(other.value),
            step: self.step.max(other.step),
        }
    }

    /// Reads text.
    #[wasm_bindgen(getter)]
    pub fn label(&self) -> String {
        format!("counter at {}", self.value)
    }

    /// Reads the value as a property.
    #[wasm_bindgen(getter)]
    pub fn value(&self) -> u32 {
        self.value
    }

    /// Writes the value as a property.
    #[wasm_bindgen(setter)]
    pub fn set_value(&mut self, value: u32) {
        self.value = value;
    }
}

/// A counter that may be absent, in and out: absent when the sum would overflow.
#[wasm_bindgen]
pub fn maybe_advance(counter: Option<Counter>, by: u32) -> Option<Counter> {
    let counter = counter?;
    Some(Counter {
        value: counter.value.checked_add(by)?,
        ..counter
    })
}

/// A list of objects, which the module takes out of the host's wrappers.
#[wasm_bindgen]
pub fn total(counters: Vec<Counter>) -> u32 {
    counters
        .iter()
        .fold(0, |sum, counter| sum.wrapping_add(counter.value))
}

/// An object of the module as a value of the host: the module asks the host for a wrapper.
#[wasm_bindgen]
pub fn counter_as_value(value: u32) -> JsValue {
    Counter::new(value).into()
}
