//! Calls that fail: with an error of the host, with any value, with a panic, with a trap.

use wasm_bindgen::prelude::*;

/// Money, whose constructor may fail.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Account {
    balance: i64,
}

#[wasm_bindgen]
impl Account {
    /// Opens an account.
    ///
    /// # Errors
    ///
    /// The opening balance is negative.
    #[wasm_bindgen(constructor)]
    pub fn new(opening: i64) -> Result<Account, JsError> {
        if opening < 0 {
            return Err(JsError::new(&format!(
                "an account cannot open with {opening}"
            )));
        }
        Ok(Account { balance: opening })
    }

    /// What is left.
    pub fn balance(&self) -> i64 {
        self.balance
    }

    /// Takes money out.
    ///
    /// # Errors
    ///
    /// There is less than that; the account stays as it is.
    pub fn withdraw(&mut self, amount: i64) -> Result<i64, JsError> {
        if amount > self.balance {
            return Err(JsError::new("the balance is too low"));
        }
        self.balance -= amount;
        Ok(self.balance)
    }

    /// Closes the account, which is consumed whether or not it works.
    ///
    /// # Errors
    ///
    /// There is money left.
    pub fn close(self) -> Result<(), JsError> {
        check(self.balance == 0)
    }
}

/// Fails with a value that is not an `Error`: the text itself.
///
/// # Errors
///
/// The text is not a number.
#[wasm_bindgen]
pub fn parse(text: &str) -> Result<String, JsValue> {
    text.trim()
        .parse::<f64>()
        .map(|number| number.to_string())
        .map_err(|reason| JsValue::from_str(&reason.to_string()))
}

/// Succeeds with nothing.
///
/// # Errors
///
/// `fine` is false.
#[wasm_bindgen]
pub fn check(fine: bool) -> Result<(), JsError> {
    if fine {
        Ok(())
    } else {
        Err(JsError::new("the check failed"))
    }
}

/// Fails with whatever value it is given.
///
/// # Errors
///
/// Always.
#[wasm_bindgen]
pub fn throw_value(value: JsValue) -> Result<u32, JsValue> {
    Err(value)
}

/// Throws past the frames of the module, which are not unwound.
#[wasm_bindgen]
pub fn throw_text(message: &str) {
    wasm_bindgen::throw_str(message);
}
