//! Clocks, which a proxy records, and the calendar, which is in UTC and needs no record.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine_api::{Caller, Error, FuncType, Val};
use time::{Date, Month, OffsetDateTime, Time, UtcDateTime};

use crate::arguments::{MEMORY, is, word, write_words};
use crate::{Body, Served};

/// The beginning of the monotonic clock.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The fields of C's `struct tm` that are numbers of four bytes: from `tm_sec` to `tm_gmtoff`.
const FIELDS: usize = 10;

/// Room for a zone's name, its zero byte included.
const ZONE: &[u8] = b"UTC\0";

pub(crate) fn served(name: &str, ty: &FuncType) -> Option<Served> {
    let fits = |signature| is(ty, signature);
    Some(match name {
        "emscripten_date_now" | "_emscripten_date_now" if fits(">d") => {
            Served::Outside(|_, _, results| {
                results[0] = date_now();
                Ok(())
            })
        }
        "emscripten_get_now" | "_emscripten_get_now" if fits(">d") => {
            Served::Outside(|_, _, results| {
                results[0] = now();
                Ok(())
            })
        }
        "emscripten_get_now_res" | "_emscripten_get_now_res" if fits(">d") => {
            Served::Local(|_, _, results| {
                results[0] = Val::from(1e6_f64);
                Ok(())
            })
        }
        "_emscripten_get_now_is_monotonic" | "emscripten_get_now_is_monotonic" if fits(">i") => {
            Served::Local(|_, _, results| {
                results[0] = Val::I32(1);
                Ok(())
            })
        }
        "_tzset_js" if fits("iiii>") => Served::Local(tzset),
        "_localtime_js" | "_gmtime_js" if ty.results().is_empty() || fits("ji>i") => {
            Served::Local(broken_down(ty)?)
        }
        "_mktime_js" | "_timegm_js" if fits("i>j") || fits("i>d") => Served::Local(mktime),
        _ => return None,
    })
}

/// As `Date.now`, in whole milliseconds.
fn date_now() -> Val {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Val::from(since.map_or(0.0, |since| (since.as_secs_f64() * 1e3).floor()))
}

/// Milliseconds of the monotonic clock.
fn now() -> Val {
    Val::from(BEGIN.elapsed().as_secs_f64() * 1e3)
}

/// `_tzset_js(timezone, daylight, std_name, dst_name)`.
fn tzset(caller: &mut dyn Caller, args: &[Val], _: &mut [Val]) -> Result<(), Error> {
    for at in [0, 1] {
        write_words(caller, word(args, at), &[0])?;
    }
    for at in [2, 3] {
        caller.memory_write(MEMORY, word(args, at).into(), ZONE)?;
    }
    Ok(())
}

/// `_localtime_js(time, tm)`, whose time is an i64, an f64, or two i32.
fn broken_down(ty: &FuncType) -> Option<Body> {
    if is(ty, "ji>") || is(ty, "ji>i") || is(ty, "di>") {
        Some(|caller, args, _| write_tm(caller, seconds(&args[0]), word(args, 1)))
    } else if is(ty, "iii>") {
        Some(|caller, args, _| {
            let [low, high] = [0, 1].map(|at| u64::from(word(args, at)));
            write_tm(caller, (low | high << 32).cast_signed(), word(args, 2))
        })
    } else {
        None
    }
}

fn seconds(time: &Val) -> i64 {
    match time {
        Val::I64(seconds) => *seconds,
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        Val::F64(bits) => f64::from_bits(*bits) as i64,
        _ => 0,
    }
}

/// Times that no calendar has become its first moment, 1970.
fn write_tm(caller: &mut dyn Caller, seconds: i64, at: u32) -> Result<(), Error> {
    let time = UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::UNIX_EPOCH);
    let fields: [i32; FIELDS] = [
        time.second().into(),
        time.minute().into(),
        time.hour().into(),
        time.day().into(),
        i32::from(u8::from(time.month())) - 1,
        time.year() - 1900,
        time.weekday().number_days_from_sunday().into(),
        i32::from(time.ordinal()) - 1,
        0,
        0,
    ];
    write_words(caller, at, &fields)
}

/// `_mktime_js(tm)`: the seconds since 1970, or -1. Fields beyond their range carry over, as in C.
fn mktime(caller: &mut dyn Caller, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
    let at = word(args, 0);
    let mut bytes = [0; 6 * 4];
    caller.memory_read(MEMORY, at.into(), &mut bytes)?;
    let mut words = bytes.chunks_exact(4);
    let mut next = || {
        let word = words.next().expect("six words").try_into();
        i64::from(i32::from_le_bytes(word.expect("four bytes")))
    };
    let (second, minute, hour, day, month, year) = (next(), next(), next(), next(), next(), next());
    let seconds = second + 60 * minute + 3600 * hour + 86400 * (day - 1);
    let months = 12 * (year + 1900) + month;
    let time = first_of(months).map(|first| first.unix_timestamp() + seconds);
    let time = time.filter(|time| UtcDateTime::from_unix_timestamp(*time).is_ok());
    if let Some(time) = time {
        write_tm(caller, time, at)?;
    }
    let time = time.unwrap_or(-1);
    #[expect(clippy::cast_precision_loss, reason = "the calendar ends before that")]
    let as_float = time as f64;
    results[0] = match results[0] {
        Val::I64(_) => Val::I64(time),
        _ => Val::from(as_float),
    };
    Ok(())
}

/// The first moment of a month, counted from the year 0.
fn first_of(months: i64) -> Option<OffsetDateTime> {
    let year = i32::try_from(months.div_euclid(12)).ok()?;
    let month = Month::try_from(u8::try_from(months.rem_euclid(12)).ok()? + 1).ok()?;
    let date = Date::from_calendar_date(year, month, 1).ok()?;
    Some(OffsetDateTime::new_utc(date, Time::MIDNIGHT))
}
