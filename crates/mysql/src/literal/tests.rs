use super::*;
use proptest::prelude::*;

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn the_greatest_float_is_not_written_as_a_greater_double() {
    assert_eq!(text(|o| push_float(o, f32::MAX)), "3.4028234663852886e38");
    assert_eq!(text(|o| push_float(o, -f32::MAX)), "-3.4028234663852886e38");
    assert_eq!(text(|o| push_float(o, 1.5)), "1.5e0");
}

#[test]
fn integers_are_decimal_text() {
    assert_eq!(text(|o| push_signed(o, i64::MIN)), i64::MIN.to_string());
    assert_eq!(text(|o| push_signed(o, -5)), "-5");
    assert_eq!(text(|o| push_unsigned(o, u64::MAX)), "18446744073709551615");
    assert_eq!(text(|o| push_unsigned(o, 0)), "0");
}

/// The server's packing, written the other way round.
fn pack(digits: &str, is_negative: bool, precision: usize, scale: usize) -> Vec<u8> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = if precision > scale {
        format!("{whole:0>width$}", width = precision - scale)
    } else {
        String::new()
    };
    let fraction = format!("{fraction:0<scale$}");
    let mut bytes = Vec::new();
    let mut put = |group: &str| {
        let value: u32 = group.parse().expect("digits");
        bytes.extend_from_slice(&value.to_be_bytes()[4 - GROUP_BYTES[group.len()]..]);
    };
    let head = whole.len() % GROUP_DIGITS;
    if head > 0 {
        put(&whole[..head]);
    }
    for at in (head..whole.len()).step_by(GROUP_DIGITS) {
        put(&whole[at..at + GROUP_DIGITS]);
    }
    for at in (0..fraction.len()).step_by(GROUP_DIGITS) {
        put(&fraction[at..fraction.len().min(at + GROUP_DIGITS)]);
    }
    if is_negative {
        bytes.iter_mut().for_each(|b| *b = !*b);
    }
    bytes[0] ^= 0x80;
    bytes
}

#[test]
fn decimals_have_the_servers_text() {
    for (digits, precision, scale, expected) in [
        ("1.5", 10, 2, "1.50"),
        ("0", 10, 2, "0.00"),
        ("0.05", 2, 2, "0.05"),
        ("123456789", 9, 0, "123456789"),
        ("1234567890.0001234567", 20, 10, "1234567890.0001234567"),
    ] {
        let plus =
            text(|o| assert!(push_decimal(o, &pack(digits, false, precision, scale), precision, scale)));
        assert_eq!(plus, expected);
        let minus =
            text(|o| assert!(push_decimal(o, &pack(digits, true, precision, scale), precision, scale)));
        assert_eq!(minus, format!("-{expected}"));
    }
    let mut out = Vec::new();
    assert!(!push_decimal(&mut out, &[0x80], 10, 2), "too short");
    assert!(!push_decimal(&mut out, &[0xff; 4], 9, 0), "more than nine digits in a group");
}

#[test]
fn times_and_dates_have_exactly_their_digits() {
    let time = Time { hour: 8, minute: 9, second: 1, micros: 123_400 };
    assert_eq!(text(|o| push_time(o, true, time, 4)), "'-08:09:01.1234'");
    assert_eq!(text(|o| push_time(o, false, Time { hour: 838, ..time }, 0)), "'838:09:01'");
    assert_eq!(text(|o| push_date(o, Date { year: 24, month: 0, day: 31 })), "'0024-00-31'");
    assert_eq!(text(|o| push_timestamp(o, 0, 0, 3)), "'0000-00-00 00:00:00.000'");
    assert_eq!(text(|o| push_timestamp(o, 1, 0, 0)), "'1970-01-01 00:00:01'");
    assert_eq!(text(|o| push_timestamp(o, i32::MAX as u32, 999_999, 6)), "'2038-01-19 03:14:07.999999'");
    assert_eq!(text(|o| push_timestamp(o, 951_782_400, 0, 0)), "'2000-02-29 00:00:00'");
    assert_eq!(text(|o| push_timestamp(o, u32::MAX, 0, 0)), "'2106-02-07 06:28:15'");
}

#[test]
fn words_in_an_enums_members_are_not_its_type() {
    let mut column = Column {
        name: "a`b".into(),
        data_type: "enum".into(),
        column_type: "enum('x) unsigned','zerofill')".into(),
        charset: Some("utf8mb4".into()),
        collation: None,
        nullable: false,
        default: None,
        extra: String::new(),
        generated: false,
        invisible: false,
    };
    assert!(!column.is_unsigned() && !column.is_zerofill());
    assert_eq!(key_expression(&column), "cast(cast(`a``b` as unsigned) as char)");
    (column.data_type, column.column_type) = ("int".into(), "int(5) unsigned zerofill".into());
    assert!(column.is_unsigned() && column.is_zerofill());
    assert_eq!(key_expression(&column), "cast(cast(`a``b` as unsigned) as char)");
    (column.data_type, column.column_type) = ("varchar".into(), "varchar(5)".into());
    assert_eq!(key_expression(&column), r"concat('_utf8mb4 x\'', hex(`a``b`), '\'')");
}

proptest! {
    #[test]
    fn floats_read_back_the_same(bits in any::<u32>(), wide in any::<u64>()) {
        let value = f32::from_bits(bits);
        if value.is_finite() {
            let read = text(|o| push_float(o, value)).parse::<f64>().expect("a number");
            let read = read as f32;
            prop_assert_eq!(read.to_bits(), value.to_bits());
        }
        let value = f64::from_bits(wide);
        if value.is_finite() {
            let read = text(|o| push_double(o, value)).parse::<f64>().expect("a number");
            prop_assert_eq!(read.to_bits(), value.to_bits());
        }
    }

    #[test]
    fn any_decimal_survives_its_packing(
        scale in 0_usize..=30,
        whole in "[1-9][0-9]{0,34}",
        fraction in "[0-9]{30}",
        is_negative in any::<bool>(),
    ) {
        let expected = if scale > 0 { format!("{whole}.{}", &fraction[..scale]) } else { whole.clone() };
        let bytes = pack(&expected, is_negative, 35 + scale, scale);
        let got = text(|o| assert!(push_decimal(o, &bytes, 35 + scale, scale)));
        prop_assert_eq!(got.trim_start_matches('-'), expected);
        prop_assert_eq!(got.starts_with('-'), is_negative);
    }
}
