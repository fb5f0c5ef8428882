//! Secrets come from the environment, and nothing that is told has one.

use super::{loaded, mistakes, shown};

#[test]
fn variables_are_filled_in_and_secrets_never_shown() {
    let tree = loaded("[admin]\ntoken = \"${TOKEN}\"\n").finish().unwrap();
    assert_eq!(tree.admin.token.unwrap().reveal(), "hunter2");
    let error = loaded("[admin]\ntoken = \"${TOKE}\"\nlisten = \"${WHERE:-x}\"\n").finish();
    let lines: Vec<_> = error.unwrap_err().lines().collect();
    assert_eq!(
        lines[0],
        "risefall.toml:2:9: admin.token: the environment has no TOKE; set it, or write \
         ${TOKE:-DEFAULT}"
    );
    assert!(
        lines[1].contains("found \"x\", expected an address"),
        "{}",
        lines[1]
    );
    for text in [
        "[admin]\ntoken = hunter2\n",
        "[admin]\ntoken = \"hunter2\n",
        "[admin]\ntoken = [\"hunter2\"]\n",
        "admin = { token = \"hunter2\", lisen = 1 }\n",
        "[admin]\ntoken = \"\"\nlisten = { token = \"hunter2\" }\n",
        "[[site.a.route]]\nusers = { alice = \"hunter2\", bob = 3 }\n",
        "[[site.a.route]]\nusers.alice = [\"hunter2\"]\n",
        "[[site.a.route]]\n[site.a.route.users]\nalice = \"hunter2\" x\n",
        "[[site.a.route]]\n[site.a.route.users]\nalice = [\"hunter2\"]\n",
    ] {
        let shown = shown(text);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_is_shown_in_the_place_of_a_secret_is_none() {
    for (text, place) in [
        ("[admin]\ntoken = \"<hidden>\"\n", "2:9: admin.token: "),
        (
            "[[site.a.route]]\nusers = { alice = \"<hidden>\" }\n",
            "site.a.route[0].users.alice: ",
        ),
        (
            "[[site.a.route]]\nrequest_headers = { set = { authorization = \"<hidden>\" } }\n",
            "site.a.route[0].request_headers.set.authorization: ",
        ),
        (
            "[[site.a.route]]\n[site.a.route.response_headers.add]\nSet-Cookie = \"<hidden>\"\n",
            "3:14: site.a.route[0].response_headers.add.Set-Cookie: ",
        ),
        (
            "[upstream.a]\nservers = [\"a:1\"]\ncheck = { headers = { x-api-key = \"<hidden>\" } }\n",
            "upstream.a.check.headers.x-api-key: ",
        ),
    ] {
        let told = shown(text);
        assert!(told.contains(place), "{told}");
        let message = "found \"<hidden>\", which is shown in the place of a secret";
        assert!(told.contains(message), "{told}");
    }
    // What nothing hides may be called so.
    for text in [
        "[[site.a.route]]\nrequest_headers = { set = { x-a = \"<hidden>\" } }\n",
        "[[site.a.route]]\nheaders = { authorization = \"<hidden>\" }\n",
    ] {
        assert_eq!(mistakes(text), [""; 0], "{text}");
    }
}
