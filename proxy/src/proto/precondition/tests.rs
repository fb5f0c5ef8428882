use super::*;

/// The date of the representation, a second before and a second after.
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const MODIFIED: u64 = 784_111_777;

const GO: Verdict = Verdict::Go { is_ranged: false };
const RANGED: Verdict = Verdict::Go { is_ranged: true };

fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(name, value);
    }
    headers
}

fn judge_by(method: &Method, etag: &str, fields: &[(HeaderName, &str)]) -> Verdict {
    let etag = HeaderValue::from_str(etag).unwrap();
    let last_modified = HeaderValue::from_static(SAME);
    let validators = Validators {
        etag: &etag,
        modified: MODIFIED,
        last_modified: &last_modified,
    };
    judge(method, &headers(fields), &validators)
}

/// The verdict on a GET.
fn get(etag: &str, fields: &[(HeaderName, &str)]) -> Verdict {
    judge_by(&Method::GET, etag, fields)
}

#[test]
fn without_conditions_all_is_sent() {
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(judge_by(&method, "\"a\"", &[]), GO);
    }
}

/// Lists, and whether they name `"a"` weakly and strongly.
const LISTS: &[(&str, bool, bool)] = &[
    ("*", true, true),
    (" *\t", true, true),
    ("\"a\"", true, true),
    ("W/\"a\"", true, false),
    (" \"a\" ", true, true),
    ("\"b\", \"a\"", true, true),
    ("\"b\",\"a\",\"c\"", true, true),
    ("\"b\"\t,\tW/\"a\"", true, false),
    ("W/\"a\", \"a\"", true, true),
    (", ,\"a\",,", true, true),
    ("\"a\", \"open", true, true),
    ("x, \"a\"", true, true),
    ("\"b\" \"c\", \"a\"", true, true),
    ("*, \"a\"", true, true),
    ("", false, false),
    (",", false, false),
    ("\"\"", false, false),
    ("\"b\"", false, false),
    ("\"A\"", false, false),
    ("\"aa\"", false, false),
    // Tags in which there is something like ours.
    ("\"b,a\"", false, false),
    ("\"b, \\\"a\\\"\"", false, false),
    ("\", a, \"", false, false),
    ("\"a \"", false, false),
    // Broken: none of ours.
    ("a", false, false),
    ("\"a", false, false),
    ("a\"", false, false),
    ("\"", false, false),
    ("'a'", false, false),
    ("w/\"a\"", false, false),
    ("W\"a\"", false, false),
    ("W/ \"a\"", false, false),
    ("W/W/\"a\"", false, false),
    ("W/a", false, false),
    ("W/", false, false),
    ("\"a\"x", false, false),
    ("x\"a\"", false, false),
    ("\"a\"\"a\"", false, false),
    ("\"a\" \"a\"", false, false),
    ("\"a\";q=1", false, false),
    ("\"open, \"a\"", false, false),
    ("**", false, false),
    ("\"*\"", false, false),
    ("*, \"b\"", false, false),
    ("*, *", false, false),
];

#[test]
fn if_none_match_compares_weakly() {
    for &(list, is_named, _) in LISTS {
        let expected = if is_named { Verdict::NotModified } else { GO };
        for method in [Method::GET, Method::HEAD] {
            for etag in ["\"a\"", "W/\"a\""] {
                let verdict = judge_by(&method, etag, &[(IF_NONE_MATCH, list)]);
                assert_eq!(verdict, expected, "{method} {list} {etag}");
            }
        }
    }
}

#[test]
fn if_match_compares_strongly() {
    for &(list, _, is_named) in LISTS {
        let expected = if is_named { GO } else { Verdict::Failed };
        for method in [Method::GET, Method::HEAD] {
            let verdict = judge_by(&method, "\"a\"", &[(IF_MATCH, list)]);
            assert_eq!(verdict, expected, "{method} {list}");
        }
        let is_star = list.trim() == "*";
        let expected = if is_star { GO } else { Verdict::Failed };
        assert_eq!(get("W/\"a\"", &[(IF_MATCH, list)]), expected, "{list}");
    }
}

#[test]
fn tags_hold_commas_and_spaces() {
    for etag in [
        "\"a, b\"", "\",\"", "\" \"", "\"a\\\"", "\"*\"", "\"W/\"", "\"\"",
    ] {
        for list in [etag.to_owned(), format!("\"x\", {etag} ,\"y\"")] {
            assert_eq!(get(etag, &[(IF_MATCH, &list)]), GO, "{list}");
            let verdict = get(etag, &[(IF_NONE_MATCH, &list)]);
            assert_eq!(verdict, Verdict::NotModified, "{list}");
        }
        let apart = "\"a\", \"b\", \"\\\"\"";
        assert_eq!(get(etag, &[(IF_MATCH, apart)]), Verdict::Failed, "{etag}");
    }
    let etag = "\"a\u{e4}\"";
    let own = HeaderValue::from_bytes(etag.as_bytes()).unwrap();
    assert!(is_tag(etag.as_bytes(), &own, Comparison::Strong));
}

#[test]
fn lines_are_one_list() {
    for (field, named, unnamed) in [
        (IF_MATCH, GO, Verdict::Failed),
        (IF_NONE_MATCH, Verdict::NotModified, GO),
    ] {
        let of = |lines: &[&str]| {
            let fields: Vec<_> = lines.iter().map(|&line| (field.clone(), line)).collect();
            get("\"a\"", &fields)
        };
        assert_eq!(of(&["\"b\"", "\"a\""]), named);
        assert_eq!(of(&["\"a\"", "\"b\""]), named);
        assert_eq!(of(&["", "\"b\", \"a\""]), named);
        assert_eq!(of(&["\"open", "\"a\""]), named);
        assert_eq!(of(&["*", "\"a\""]), named);
        assert_eq!(of(&["\"b\"", "\"c\""]), unnamed);
        assert_eq!(of(&["*", "\"b\""]), unnamed);
        assert_eq!(of(&["\"b\"", "*"]), unnamed);
        assert_eq!(of(&["\"", "a\""]), unnamed);
    }
}

/// Dates, and whether the representation changed after them, if they can be read.
const DATES: &[(&str, Option<bool>)] = &[
    (SAME, Some(false)),
    (AFTER, Some(false)),
    (BEFORE, Some(true)),
    ("Thu, 01 Jan 1970 00:00:00 GMT", Some(true)),
    ("Fri, 31 Dec 9999 23:59:59 GMT", Some(false)),
    // The obsolete formats (RFC 9110 §5.6.7).
    ("Sunday, 06-Nov-94 08:49:37 GMT", Some(false)),
    ("Sunday, 06-Nov-94 08:49:36 GMT", Some(true)),
    ("Sun Nov  6 08:49:37 1994", Some(false)),
    ("Sun Nov  6 08:49:36 1994", Some(true)),
    ("", None),
    ("0", None),
    ("-1", None),
    ("784111777", None),
    ("yesterday", None),
    ("Sun, 06 Nov 1994 08:49:37", None),
    ("Sun, 06 Nov 1994 08:49:37 CET", None),
    ("Mon, 06 Nov 1994 08:49:37 GMT", None),
    ("Sun, 31 Feb 1994 08:49:37 GMT", None),
    ("Sun, 06 Nov 1994 24:00:00 GMT", None),
    ("Wed, 31 Dec 1969 23:59:59 GMT", None),
    (
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        None,
    ),
    ("1994-11-06T08:49:37Z", None),
    ("Sun, 06 Nov 1994 08:49:37 GMT; length=1", None),
    ("S\u{fc}n, 06 Nov 1994 08:49:37 GMT", None),
];

#[test]
fn dates_are_compared_and_what_is_none_is_passed_over() {
    for &(date, is_modified) in DATES {
        for method in [Method::GET, Method::HEAD] {
            let verdict = judge_by(&method, "\"a\"", &[(IF_MODIFIED_SINCE, date)]);
            let is_known = is_modified == Some(false);
            let expected = if is_known { Verdict::NotModified } else { GO };
            assert_eq!(verdict, expected, "{method} {date}");

            let verdict = judge_by(&method, "\"a\"", &[(IF_UNMODIFIED_SINCE, date)]);
            let is_another = is_modified == Some(true);
            let expected = if is_another { Verdict::Failed } else { GO };
            assert_eq!(verdict, expected, "{method} {date}");
        }
    }
}

#[test]
fn two_dates_are_none() {
    for field in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        for date in [BEFORE, SAME, AFTER] {
            let fields = [(field.clone(), date), (field.clone(), date)];
            assert_eq!(get("\"a\"", &fields), GO, "{field} {date}");
        }
    }
}

#[test]
fn tags_go_before_dates_and_what_fails_before_what_is_known() {
    let own = "\"a\"";
    for (fields, expected) in [
        // A date counts only without the tag, even if the list is broken or empty.
        (
            &[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, SAME)][..],
            GO,
        ),
        (&[(IF_NONE_MATCH, ""), (IF_MODIFIED_SINCE, SAME)], GO),
        (&[(IF_NONE_MATCH, "a"), (IF_MODIFIED_SINCE, SAME)], GO),
        (
            &[(IF_NONE_MATCH, own), (IF_MODIFIED_SINCE, BEFORE)],
            Verdict::NotModified,
        ),
        (&[(IF_MATCH, own), (IF_UNMODIFIED_SINCE, BEFORE)], GO),
        (
            &[(IF_MATCH, "\"b\""), (IF_UNMODIFIED_SINCE, SAME)],
            Verdict::Failed,
        ),
        (
            &[(IF_MATCH, "\"b\""), (IF_NONE_MATCH, own)],
            Verdict::Failed,
        ),
        (
            &[(IF_UNMODIFIED_SINCE, BEFORE), (IF_NONE_MATCH, own)],
            Verdict::Failed,
        ),
        (
            &[(IF_UNMODIFIED_SINCE, BEFORE), (IF_MODIFIED_SINCE, SAME)],
            Verdict::Failed,
        ),
        (
            &[(IF_MATCH, own), (IF_NONE_MATCH, own)],
            Verdict::NotModified,
        ),
        (
            &[(IF_UNMODIFIED_SINCE, SAME), (IF_MODIFIED_SINCE, SAME)],
            Verdict::NotModified,
        ),
        // A range changes nothing of that.
        (
            &[(RANGE, "bytes=0-0"), (IF_NONE_MATCH, own)],
            Verdict::NotModified,
        ),
        (
            &[(RANGE, "bytes=0-0"), (IF_RANGE, own), (IF_MATCH, "\"b\"")],
            Verdict::Failed,
        ),
        (
            &[(RANGE, "bytes=0-0"), (IF_RANGE, own), (IF_MATCH, own)],
            RANGED,
        ),
        (
            &[(RANGE, "bytes=0-0"), (IF_RANGE, "\"b\""), (IF_MATCH, own)],
            GO,
        ),
    ] {
        assert_eq!(get(own, fields), expected, "{fields:?}");
    }
}

#[test]
fn a_range_counts_in_get_and_once() {
    let range = [(RANGE, "bytes=0-0")];
    assert_eq!(get("\"a\"", &range), RANGED);
    assert_eq!(judge_by(&Method::HEAD, "\"a\"", &range), GO);
    let twice = [(RANGE, "bytes=0-0"), (RANGE, "bytes=1-1")];
    assert_eq!(get("\"a\"", &twice), GO);
}

#[test]
fn if_range_is_our_strong_tag_or_our_date() {
    for (condition, expected) in [
        ("\"a\"", RANGED),
        (" \"a\" ", RANGED),
        (SAME, RANGED),
        ("W/\"a\"", GO),
        ("\"b\"", GO),
        ("\"b\", \"a\"", GO),
        ("\"a\", \"a\"", GO),
        ("a", GO),
        ("*", GO),
        ("", GO),
        ("\"", GO),
        (BEFORE, GO),
        (AFTER, GO),
        ("Sunday, 06-Nov-94 08:49:37 GMT", GO),
        ("Sun Nov  6 08:49:37 1994", GO),
        ("yesterday", GO),
    ] {
        let fields = [(RANGE, "bytes=0-0"), (IF_RANGE, condition)];
        assert_eq!(get("\"a\"", &fields), expected, "{condition}");
        assert_eq!(judge_by(&Method::HEAD, "\"a\"", &fields), GO);
        // Without a range there is nothing to forbid.
        assert_eq!(get("\"a\"", &[(IF_RANGE, condition)]), GO);
    }
    let twice = [
        (RANGE, "bytes=0-0"),
        (IF_RANGE, "\"a\""),
        (IF_RANGE, "\"a\""),
    ];
    assert_eq!(get("\"a\"", &twice), GO);
    for tag in ["W/\"a\"", "\"a\""] {
        let fields = [(RANGE, "bytes=0-0"), (IF_RANGE, tag)];
        assert_eq!(get("W/\"a\"", &fields), GO, "{tag}");
    }
}

/// A member of a list: how it is written, and whether it names `"a, b"` weakly and strongly.
const MEMBERS: &[(&str, bool, bool)] = &[
    ("\"a, b\"", true, true),
    ("W/\"a, b\"", true, false),
    ("\"a\"", false, false),
    ("W/\"b\"", false, false),
    ("\"x,\" \"a, b\"", false, false),
    ("a", false, false),
    ("", false, false),
];

/// Dates to choose from: as they are written, and whether ours is later, if it can be read.
const MOMENTS: &[(&str, Option<bool>)] = &[
    (BEFORE, Some(true)),
    (SAME, Some(false)),
    (AFTER, Some(false)),
    ("no date", None),
];

/// Lines of a list, and whether they name our tag weakly and strongly; `None` if there are none.
fn random_list(
    random: &mut fastrand::Rng,
    field: &HeaderName,
    fields: &mut Vec<(HeaderName, String)>,
) -> Option<(bool, bool)> {
    match random.u8(..6) {
        0 | 1 => return None,
        2 => {
            fields.push((field.clone(), "*".to_owned()));
            return Some((true, true));
        }
        _ => (),
    }
    let mut is_named = (false, false);
    for _ in 0..random.usize(1..3) {
        let mut line = Vec::new();
        for _ in 0..random.usize(..4) {
            let (text, is_weakly, is_strongly) = random.choice(MEMBERS).copied().unwrap();
            is_named = (is_named.0 | is_weakly, is_named.1 | is_strongly);
            line.push(text);
        }
        let comma = random.choice([",", ", ", " ,\t"]).unwrap();
        fields.push((field.clone(), line.join(comma)));
    }
    Some(is_named)
}

fn random_date(
    random: &mut fastrand::Rng,
    field: &HeaderName,
    fields: &mut Vec<(HeaderName, String)>,
) -> Option<bool> {
    let count = random.usize(..3);
    let (text, is_later) = random.choice(MOMENTS).copied().unwrap();
    fields.extend(vec![(field.clone(), text.to_owned()); count]);
    is_later.filter(|_| count == 1)
}

#[test]
fn verdicts_are_those_of_a_plain_model() {
    let mut random = fastrand::Rng::with_seed(13);
    for _ in 0..100_000 {
        let is_weak = random.bool();
        let is_get = random.bool();
        let mut fields = Vec::new();
        let matched = random_list(&mut random, &IF_MATCH, &mut fields);
        let is_star = fields.iter().any(|(_, value)| value == "*");
        let unmodified = random_date(&mut random, &IF_UNMODIFIED_SINCE, &mut fields);
        let unmatched = random_list(&mut random, &IF_NONE_MATCH, &mut fields);
        let modified = random_date(&mut random, &IF_MODIFIED_SINCE, &mut fields);
        let ranges = random.usize(..3);
        fields.extend(vec![(RANGE, "bytes=0-".to_owned()); ranges]);
        let if_range = random.choice([None, Some("\"a, b\""), Some(SAME), Some("\"a\"")]);
        let if_range = if_range.unwrap();
        fields.extend(if_range.map(|value| (IF_RANGE, value.to_owned())));
        random.shuffle(&mut fields);

        let holds = match matched {
            Some((_, is_strongly)) => is_star || (is_strongly && !is_weak),
            None => unmodified != Some(true),
        };
        let is_known = match unmatched {
            Some((is_weakly, _)) => is_weakly,
            None => modified == Some(false),
        };
        let is_wanted = match if_range {
            None | Some(SAME) => true,
            Some(tag) => tag == "\"a, b\"" && !is_weak,
        };
        let expected = if !holds {
            Verdict::Failed
        } else if is_known {
            Verdict::NotModified
        } else {
            Verdict::Go {
                is_ranged: is_get && ranges == 1 && is_wanted,
            }
        };
        let etag = if is_weak { "W/\"a, b\"" } else { "\"a, b\"" };
        let method = if is_get { Method::GET } else { Method::HEAD };
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str()))
            .collect();
        let verdict = judge_by(&method, etag, &fields);
        assert_eq!(verdict, expected, "{method} {etag} {fields:?}");
    }
}
