//! What nobody may see, or not everybody.

use risefall_proxy::plan::files::Links;
use risefall_proxy::plan::users::Users;

use super::folder::{self, Folder};

#[tokio::test]
async fn what_is_hidden_or_outside_is_not_there() {
    let folder = Folder::with(&[
        (".env", "secret"),
        (".git/config", "secret"),
        (".well-known/acme-challenge/t", "token"),
        ("in.txt", "inside"),
        ("sub/f", "f"),
    ]);
    folder.outside("canary.txt", "canary");
    folder.link("out", "../canary.txt");
    folder.link("sub/in", "../in.txt");
    folder.link("absolute", folder.root().join("in.txt").to_str().unwrap());
    folder.link("loop", "loop");
    folder.pipe("pipe");
    let proxy = folder.shown(|_| {});
    for (path, status) in [
        ("/.env", 404),
        ("/.git/config", 404),
        ("/sub/../.env", 404),
        ("/%2eenv", 404),
        ("/.well-known/acme-challenge/t", 200),
        ("/out", 404),
        ("/absolute", 404),
        ("/loop", 404),
        ("/pipe", 404),
        ("/sub/in", 200),
        ("/sub//f", 404),
        ("//in.txt", 404),
        ("/sub%2Ff", 404),
        ("/in.txt%00", 400),
        ("/../canary.txt", 400),
        ("/sub/..%2f..%2fcanary.txt", 400),
        ("/in.txt/x", 404),
    ] {
        let response = proxy.ask(folder::get(path)).await;
        assert_eq!(response.status(), status, "{path}");
        assert!(!response.text().contains("canary") && !response.text().contains("secret"));
    }
}

#[tokio::test]
async fn which_links_are_followed_is_the_operators_choice() {
    let folder = Folder::with(&[("in.txt", "inside")]);
    folder.outside("canary.txt", "outside");
    folder.link("out", "../canary.txt");
    folder.link("in", "in.txt");
    for (links, out, inside) in [
        (Links::Inside, 404, 200),
        (Links::All, 200, 200),
        (Links::Off, 404, 404),
    ] {
        let proxy = folder.shown(|files| files.links = links);
        assert_eq!(
            proxy.ask(folder::get("/out")).await.status(),
            out,
            "{links:?}"
        );
        assert_eq!(
            proxy.ask(folder::get("/in")).await.status(),
            inside,
            "{links:?}"
        );
        assert_eq!(proxy.ask(folder::get("/in.txt")).await.status(), 200);
    }
}

#[tokio::test]
async fn a_guarded_folder_is_guarded_in_every_spelling() {
    let folder = Folder::with(&[("team@x/a.txt", "secret"), ("{t}/a.txt", "secret")]);
    let proxy = folder.shown_with(|draft, _| {
        for path in ["/team@x", "/%7Bt%7D"] {
            let mut barred = folder.route(path);
            barred.users = Users::new([("ann", "pass")]);
            draft.sites[0].routes.push(barred);
        }
    });
    for path in [
        "/team@x/a.txt",
        "/team%40x/a.txt",
        "/{t}/a.txt",
        "/%7bt%7D/a.txt",
    ] {
        assert_eq!(proxy.ask(folder::get(path)).await.status(), 401, "{path}");
        let fields = "Authorization: Basic YW5uOnBhc3M=\r\n";
        let known = proxy.ask(folder::ask("GET", path, fields)).await;
        assert_eq!(known.text(), "secret", "{path}");
    }
    for path in ["//team@x/a.txt", "/team@x//a.txt", "//%7bt}//a.txt"] {
        assert_eq!(proxy.ask(folder::get(path)).await.status(), 401, "{path}");
    }
}
