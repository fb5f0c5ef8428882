use hyper::header::HeaderValue;

use super::*;

fn accepted(lines: &[&str]) -> Accepted {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(ACCEPT_ENCODING, value);
    }
    Accepted::of(&headers)
}

/// The qualities of br, zstd, gzip and identity.
fn qualities(lines: &[&str]) -> [u16; 4] {
    let accepted = accepted(lines);
    [accepted.br, accepted.zstd, accepted.gzip, accepted.identity]
}

#[test]
fn qualities_are_those_that_were_said() {
    for (line, expected) in [
        ("", [0; 4]),
        (" ", [0; 4]),
        (",", [0; 4]),
        ("deflate, compress, dcb", [0; 4]),
        ("gzip, deflate, br, zstd", [1000, 1000, 1000, 0]),
        ("gzip,deflate,br", [1000, 0, 1000, 0]),
        ("GZip, BR, ZSTD, IDENTITY", [1000; 4]),
        ("x-gzip", [0, 0, 1000, 0]),
        ("X-GZIP;q=0.5", [0, 0, 500, 0]),
        ("*", [1000; 4]),
        ("*;q=0", [0; 4]),
        ("*;q=0.5", [500; 4]),
        ("*, gzip;q=0", [1000, 1000, 0, 1000]),
        ("identity;q=0, *;q=0.3", [300, 300, 300, 0]),
        ("*;q=0.3, identity", [300, 300, 300, 1000]),
        ("gzip;q=0.5, br;q=0.25, zstd;q=0.125", [250, 125, 500, 0]),
        // All that a quality may look like.
        ("gzip;q=0", [0; 4]),
        ("gzip;q=0.", [0; 4]),
        ("gzip;q=0.000", [0; 4]),
        ("gzip;q=0.001", [0, 0, 1, 0]),
        ("gzip;q=0.01", [0, 0, 10, 0]),
        ("gzip;q=0.999", [0, 0, 999, 0]),
        ("gzip;q=1", [0, 0, 1000, 0]),
        ("gzip;q=1.", [0, 0, 1000, 0]),
        ("gzip;q=1.000", [0, 0, 1000, 0]),
        ("gzip;Q=0.5", [0, 0, 500, 0]),
        ("gzip ;\tq=0.5 ,, br\t", [1000, 0, 500, 0]),
    ] {
        assert_eq!(qualities(&[line]), expected, "{line}");
    }
    assert_eq!(qualities(&[]), [0; 4]);
}

#[test]
fn members_with_a_mistake_are_passed_over() {
    for member in [
        "gzip;",
        "gzip;q",
        "gzip;q=",
        "gzip;q=.5",
        "gzip;q=1.001",
        "gzip;q=1.1",
        "gzip;q=2",
        "gzip;q=10",
        "gzip;q=00.5",
        "gzip;q=0.5555",
        "gzip;q=0.0000",
        "gzip;q=0,5",
        "gzip;q=0.5x",
        "gzip;q=0.-1",
        "gzip;q=-1",
        "gzip;q=+1",
        "gzip;q=1e0",
        "gzip;q = 1",
        "gzip;q= 1",
        "gzip;q=\"1\"",
        "gzip;x=1",
        "gzip;q=1;x=1",
        "gzip;x=1;q=1",
        "gzip;;q=1",
        "gzip q=1",
        "gzip gzip",
        "\"gzip\"",
        "gzi",
        "gzipp",
        "xgzip",
        "x-br",
        "brotli",
        "zst",
        "**",
        ";q=1",
        "\u{e4}",
    ] {
        // What a comma splits off is no name either.
        assert_eq!(qualities(&[member]), [0; 4], "{member}");
        let beside = format!("{member}, br;q=0.5");
        assert_eq!(qualities(&[&beside]), [500, 0, 0, 0], "{member}");
    }
}

#[test]
fn lines_are_one_list_and_its_order_means_nothing() {
    for lines in [
        &["gzip;q=0.5", "br"][..],
        &["br", "gzip;q=0.5"],
        &["br,gzip;q=0.5"],
        &["gzip;q=0.5,br", ""],
        &["gzip;q=0, gzip;q=0.5", "br;q=0.1, br"],
        &["br, x-gzip;q=0.5", "br;q=0, gzip;q=0.4"],
    ] {
        assert_eq!(qualities(lines), [1000, 0, 500, 0], "{lines:?}");
    }
}

#[test]
fn the_best_of_what_is_there_is_chosen() {
    use Coding::{Br, Gzip, Zstd};
    for (line, order, expected) in [
        ("", &[Br, Zstd, Gzip][..], None),
        ("deflate", &[Br, Zstd, Gzip], None),
        ("gzip, br", &[], None),
        // Alike: the server's choice.
        ("gzip, deflate, br, zstd", &[Br, Zstd, Gzip], Some(Br)),
        ("gzip, deflate, br, zstd", &[Zstd, Gzip], Some(Zstd)),
        ("gzip, deflate, br, zstd", &[Gzip, Br], Some(Gzip)),
        ("gzip", &[Br, Zstd, Gzip], Some(Gzip)),
        ("*", &[Zstd, Br], Some(Zstd)),
        ("*;q=0.001", &[Br], Some(Br)),
        // Unlike: the client's.
        ("gzip, br;q=0.9", &[Br, Zstd, Gzip], Some(Gzip)),
        ("gzip;q=0.1, br;q=0.9, *;q=0.5", &[Gzip, Zstd], Some(Zstd)),
        ("gzip;q=0, *", &[Gzip], None),
        // Beside the plain form.
        ("gzip;q=0.001", &[Gzip], Some(Gzip)),
        ("gzip, identity", &[Gzip], Some(Gzip)),
        ("gzip;q=0.5, identity;q=0.5", &[Gzip], Some(Gzip)),
        ("gzip;q=0.5, identity;q=0.6", &[Gzip], None),
        ("gzip;q=0.5, br, identity;q=0.6", &[Gzip, Br], Some(Br)),
        ("gzip;q=0.5, *;q=0.8", &[Gzip], None),
        ("gzip;q=0.5, *;q=0.8", &[Gzip, Br], Some(Br)),
        ("gzip;q=0.5, *;q=0", &[Br, Gzip], Some(Gzip)),
        ("identity", &[Br], None),
        ("identity;q=0", &[Br], None),
        ("identity;q=0, gzip;q=0.1", &[Br, Gzip], Some(Gzip)),
        ("*;q=0", &[Br], None),
    ] {
        let best = accepted(&[line]).best(order.iter().copied());
        assert_eq!(best, expected, "{line} of {order:?}");
    }
}

#[test]
fn any_is_what_could_be_chosen() {
    for (line, is_any) in [
        ("", false),
        ("deflate", false),
        ("gzip", true),
        ("*", true),
        ("gzip;q=0, br;q=0", false),
        ("identity;q=0", false),
        ("zstd;q=0.1", true),
        ("zstd;q=0.1, identity;q=0.2", false),
    ] {
        assert_eq!(accepted(&[line]).is_any(), is_any, "{line}");
    }
}

#[test]
fn codings_have_a_name_and_an_extension() {
    let names = Coding::ALL.map(|coding| (coding.token(), coding.suffix()));
    assert_eq!(names, [("br", "br"), ("zstd", "zst"), ("gzip", "gz")]);
}

#[test]
fn the_choice_is_that_of_a_plain_model() {
    let names = ["br", "zstd", "gzip", "identity", "*", "deflate"];
    let mut random = fastrand::Rng::with_seed(12);
    for _ in 0..100_000 {
        // The members by name, and the quality of each.
        let members: Vec<(usize, u16)> = (0..random.usize(..6))
            .map(|_| {
                let coarse = random.u16(..=4) * 250;
                (random.usize(..names.len()), coarse)
            })
            .collect();
        let mut lines = vec![String::new()];
        for &(name, quality) in &members {
            if random.u8(..4) == 0 {
                lines.push(String::new());
            }
            let line = lines.last_mut().unwrap();
            let weight = match quality {
                1000 if random.bool() => String::new(),
                1000 => ";q=1.00".to_owned(),
                _ => format!(" ; q=0.{quality:03}"),
            };
            line.push_str(&format!(" {}{weight},", names[name]));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();

        let said = |name: usize| {
            let same = members.iter().filter(|member| member.0 == name);
            same.map(|member| member.1).max()
        };
        let quality = |name: usize| said(name).or(said(4));
        let mut order = Coding::ALL.to_vec();
        random.shuffle(&mut order);
        order.truncate(random.usize(..4));
        // The plain form loses to all that is as good. If nothing means it, to all that is taken.
        let plain = quality(3).filter(|&plain| plain > 0);
        let best = order
            .iter()
            .map(|&coding| quality(coding as usize).unwrap_or(0))
            .max()
            .filter(|&best| best > 0 && plain.is_none_or(|plain| best >= plain));
        let expected = best.and_then(|best| {
            let mut order = order.iter().copied();
            order.find(|&coding| quality(coding as usize) == Some(best))
        });
        let accepted = accepted(&lines);
        assert_eq!(
            accepted.best(order.clone()),
            expected,
            "{lines:?} of {order:?}"
        );
    }
}
