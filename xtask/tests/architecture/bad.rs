//! Bad files, each of which a rule must refuse, and good ones beside them.

use toml_edit::DocumentMut;

use crate::faults::{faults, tests};
use crate::rooms::{Graph, TOOL};
use crate::rules::{
    File, Words, bare_limits, dependencies, edges, fixed_names, imports, mentions, prints, shape,
};
use crate::source::{Path, Source};
use crate::style::{banned, banned_words, empty_docs, long_names};

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[track_caller]
fn refuses(path: &str, text: &str, ban: &str) {
    let wrong = imports(&file(path, text));
    assert!(wrong.iter().any(|w| w.contains(ban)), "`{text}` in {path} passes: {wrong:?}");
}

#[track_caller]
fn accepts(path: &str, text: &str) {
    assert_eq!(imports(&file(path, text)), Vec::<String>::new());
}

#[test]
fn source_is_split_into_its_parts() {
    let source = Source::read(
        "/* a /* b */ \"c */ let x = \"d\\\"//e\"; // f \"g\n\
         let y: &'a str = r#\"h\"i\"#; let z = ('\"', '\\'', b'\"'); let for_r = b\"j\";",
    );
    let texts: Vec<&str> = source.texts.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["\"d\\\"//e\"", "r#\"h\"i\"#", "b\"j\""]);
    let comments: Vec<&str> = source.comments.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(comments, ["/* a /* b */ \"c */", "// f \"g"]);
    assert_eq!(source.texts[1].0, 2);
    assert!(source.code.contains("let for_r ="));
}

#[test]
fn use_trees_unfold_into_paths() {
    let source = Source::read("use crate::{a::{self, b as c}, d};\nfn f() { e::g::<H>(); i }");
    let paths: Vec<String> = source.paths().iter().map(|path| path.parts.join("::")).collect();
    assert_eq!(paths, ["crate::a::self", "crate::a::b", "crate::d", "e::g"]);
    let lines: Vec<usize> = source.paths().iter().map(|path: &Path| path.line).collect();
    assert_eq!(lines, [1, 1, 1, 2]);
}

/// What the order of the tool finds in these files.
fn rooms(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> = files.iter().map(|(path, text)| file(path, text)).collect();
    let graph = Graph::read(TOOL.0, &files);
    [graph.against(TOOL.1), graph.circles()].concat()
}

#[test]
fn arrow_against_the_order_is_refused() {
    for (path, text, arrow) in [
        ("view/table.rs", "use crate::{cli, view};", "view -> cli"),
        ("view/table.rs", "fn f() { super::super::session::run(); }", "view -> session"),
        ("view/mod.rs", "use super::session;", "view -> session"),
        ("effects/a/b.rs", "use crate::driver;", "effects::a -> driver"),
        ("effects/a/mod.rs", "use super::super::supervisor::x;", "effects::a -> supervisor"),
        ("effects/mod.rs", "#[cfg(test)] mod t { use super::super::view::X; }", "effects -> view"),
        ("driver/mod.rs", "use crate::cli::Args;", "driver -> cli"),
        ("driver/a.rs", "fn f(_: crate::session::S) {}", "driver -> session"),
        ("system/a.rs", "pub use crate::workspace::{self, read};", "system -> workspace"),
        ("system/a.rs", "use crate::Root;", "system -> Root"),
        ("drawer.rs", "use crate::system::tcp;", "drawer -> system"),
    ] {
        let path = format!("xtask/daily/src/{path}");
        let wrong = rooms(&[(&path, text), ("xtask/daily/src/effects/a/mod.rs", "")]);
        assert!(wrong.iter().any(|line| line.contains(arrow)), "`{text}`: {wrong:?}");
    }
}

#[test]
fn arrow_along_the_order_is_accepted() {
    for (path, text) in [
        ("view/table.rs", "use crate::view::text; // crate::cli"),
        ("session/table.rs", "use super::text; fn f() { super::super::effects::x(); }"),
        ("view/mod.rs", "mod tests { use super::table::x; mod a { use super::super::text; } }"),
        ("view/mod.rs", "mod tests { fn f() {} } use self::table::x;"),
        ("view/table.rs", "let x = \"crate::cli\"; let cli::Y = x;"),
        ("effects/a/b.rs", "use super::c; use super::super::d; use xtask_core::x;"),
        ("cli/up.rs", "use crate::{driver, effects, view};"),
    ] {
        assert_eq!(rooms(&[(&format!("xtask/daily/src/{path}"), text)]), Vec::<String>::new());
    }
}

#[test]
fn circle_between_rooms_is_refused() {
    let (one, two) = ("xtask/daily/src/effects/one/a.rs", "xtask/daily/src/effects/two/a.rs");
    let three = ("xtask/daily/src/effects/three/b.rs", "use crate::effects::one::a;");
    let to_two = (one, "use super::super::two::a;");
    assert_eq!(rooms(&[to_two, (two, "")]), Vec::<String>::new());
    assert_eq!(rooms(&[to_two, (two, "use crate::effects::one::a;")]).len(), 2);
    assert_eq!(rooms(&[to_two, (two, "use crate::effects::three;"), three]).len(), 3);
    let parent = ("xtask/daily/src/effects/mod.rs", "mod one; use self::one::a::X;");
    assert_eq!(rooms(&[parent, (one, "use super::super::Y; use super::Z;")]), Vec::<String>::new());
}

#[test]
fn import_outside_its_limits_is_refused() {
    refuses("xtask/daily/src/view/table.rs", "use std::{fmt, fs};", "std::fs");
    refuses("xtask/daily/src/view/style.rs", "use std::io::{self, IsTerminal};", "std::io");
    refuses("xtask/daily/src/view/style.rs", "fn f() { std::env::var_os(\"CI\"); }", "std::env");
    refuses(
        "xtask/daily/src/view/style.rs",
        "fn f() { anstream::stderr().lock(); }",
        "anstream::stderr",
    );
    refuses("xtask/daily/src/view/table.rs", "use crate::effects::World;", "crate::effects");
    refuses("xtask/daily/src/view/mod.rs", "use super::workspace;", "crate::workspace");
    refuses("xtask/daily/src/view/style.rs", "#[derive(clap::ValueEnum)] enum E {}", "clap");
    refuses("xtask/core/src/a.rs", "use std::fs;", "std");
    refuses("xtask/core/src/a.rs", "extern crate std;", "`std` in the core");
    refuses("xtask/core/src/a.rs", "fn f() { unsafe {} }", "`unsafe` in the core");
    refuses("xtask/core/src/a.rs", "use xtask_client::Handle;", "xtask_client");
    refuses("services/x/src/a.rs", "use xtask_core::terms::Name;", "names the tool");
    refuses("tests/tests/a.rs", "use xtask_core::terms::Name;", "only `xtask_client`");
}

#[test]
fn import_inside_its_limits_is_accepted() {
    accepts("xtask/daily/src/view/table.rs", "use super::words; use std::fmt; // std::fs\n");
    accepts("xtask/daily/src/view/tests.rs", "use std::fs::read;");
    accepts(
        "xtask/daily/src/view/table.rs",
        "fn f() { anstream::adapter::strip_str(x); env!(\"X\"); }",
    );
    accepts("xtask/core/src/a.rs", "use crate::terms::Name; use core::fmt; // std::fs");
    accepts("xtask/core/tests/a.rs", "use std::fs;");
    accepts("tests/tests/a.rs", "use xtask_client::Handle; use std::fs;");
}

#[test]
fn printing_macro_is_refused() {
    let found = |path: &str, text: &str| prints(&file(path, text)).len();
    assert_eq!(found("xtask/daily/src/driver/mod.rs", "fn f() { eprintln!(\"x\"); }"), 1);
    assert_eq!(found("xtask/daily/src/effects/a/b.rs", "fn f() { println!(); dbg!(1); }"), 2);
    assert_eq!(
        found("xtask/daily/src/effects/tests/a.rs", "fn f() { eprintln!(\"skipped\"); }"),
        0
    );
    assert_eq!(
        found("xtask/daily/src/supervisor/a.rs", "// eprintln!\nfn f() { say(\"print\"); }"),
        0
    );
    assert_eq!(found("xtask/daily/src/view/table.rs", "fn f() { println!(); }"), 1);
    assert_eq!(found("xtask/daily/src/view/graph/tests.rs", "fn f() { println!(); }"), 0);
    assert_eq!(found("xtask/daily/src/cli/a.rs", "fn f() { println!(); }"), 0);
}

#[test]
fn parameter_alone_as_a_limit_is_refused() {
    let found = |text| bare_limits(&file("services/x/src/a.rs", text)).len();
    assert_eq!(found("fn f() { q(\"SELECT 1 LIMIT $12 + 0\"); } // LIMIT $1"), 0);
    assert_eq!(found("fn f() { q(\"SELECT 1 LIMIT $1\"); q(\"LIMIT $2 OFFSET 1\"); }"), 2);
}

#[test]
fn fixed_name_of_the_tool_is_refused() {
    let found = |path: &str, text: &str| fixed_names(&file(path, text)).len();
    for text in ["    \"run `cargo xtask up`\"", "/// Example: `cargo services up`"] {
        assert_eq!(found("xtask/daily/src/cli/a.rs", text), 1, "{text}");
        assert_eq!(found("xtask/core/src/a.rs", text), 1, "{text}");
        assert_eq!(found("xtask/tests/processes/a.rs", text), 0, "{text}");
    }
    assert_eq!(found("xtask/daily/src/cli/a.rs", "//! `cargo xtask a`: does it."), 0);
    assert_eq!(found("xtask/daily/src/a.rs", "#[cfg(test)]\nmod tests { \"cargo xtask\" }"), 0);
}

#[test]
fn dependency_against_the_order_is_refused() {
    let manifest = |dependency: &str, table: &str| {
        format!("[{table}]\n{dependency}.workspace = true\n").parse::<DocumentMut>().unwrap()
    };
    let services = ["shop".to_owned()];
    for (folder, dependency, table) in [
        ("services/shop", "xtask-client", "dev-dependencies"),
        ("tests", "xtask-core", "dependencies"),
        ("tests", "shop", "dependencies"),
        ("xtask", "shop", "dependencies"),
        ("xtask/core", "xtask-client", "dependencies"),
        ("xtask/core", "xtask", "dev-dependencies"),
        ("xtask/core", "tokio", "target.'cfg(unix)'.dependencies"),
        ("xtask/client", "xtask", "dependencies"),
        ("xtask/control", "xtask-client", "dependencies"),
        ("xtask/logs", "xtask-core", "dependencies"),
        ("xtask/client", "xtask-test-support", "dev-dependencies"),
        ("xtask", "xtask-test-support", "dependencies"),
        ("xtask/tests/support", "xtask-core", "dependencies"),
        ("services/shop", "xtask-test-support", "dev-dependencies"),
    ] {
        let wrong = edges(folder, &manifest(dependency, table), &services);
        assert_eq!(wrong, [format!("{folder}/Cargo.toml: depends on `{dependency}`")]);
    }
    for (folder, dependency) in
        [("tests", "xtask-client"), ("xtask", "xtask-core"), ("services/shop", "tokio")]
    {
        let wrong = edges(folder, &manifest(dependency, "dependencies"), &services);
        assert_eq!(wrong, Vec::<String>::new());
    }
    let renamed = "[dependencies]\nx = { package = \"shop\", version = \"1\" }";
    let found = dependencies(&renamed.parse::<DocumentMut>().unwrap());
    assert_eq!(found, [("dependencies".to_owned(), "shop".to_owned())]);
}

#[test]
fn malformed_file_is_refused() {
    let bad = |text: &str| shape(&file("a.rs", text));
    assert_eq!(bad("//! Purpose.\n"), Vec::<String>::new());
    assert_eq!(bad("//! Purpose.\n// #[ignore]\n"), Vec::<String>::new());
    assert_eq!(bad("// no purpose\n"), ["a.rs: does not begin with `//!`"]);
    assert_eq!(bad("//! P\n#[test]\n#[ignore = \"slow\"]\n"), ["a.rs: a test is ignored"]);
    assert_eq!(bad("//! P\n#[cfg_attr(x, ignore)]\n"), ["a.rs: a test is ignored"]);
    assert_eq!(bad(&"//! P\n".repeat(501)), ["a.rs: 501 lines, of 500 at most"]);
    let wide = format!("//! P\n    // {}\n", "x".repeat(94));
    assert_eq!(bad(&wide), ["a.rs:2: a comment is wider than 100 characters"]);
}

#[test]
fn mention_of_the_application_is_found() {
    let words = Words { services: vec!["shop".into()], names: vec!["jane_doe".into()] };
    let found = |path: &str, text: &str| mentions(&file(path, text), &words).len();
    assert_eq!(found("a.rs", "let name = \"shop\";"), 1);
    assert_eq!(found("a.rs", "// asks `shop` for it"), 1);
    assert_eq!(found("a.rs", "/// asks the\n/// `GET /shop/1`"), 1);
    assert_eq!(found("a.rs", "// jane_doe"), 1);
    assert_eq!(found("a.toml", "x = \"shop\""), 1);
    assert_eq!(found("a.md", "Run `up shop` now"), 1);

    assert_eq!(found("a.rs", "let shop = 1; // in every shop"), 0);
    assert_eq!(found("a.rs", "let x = \"workshop shops shop-front\";"), 0);
    assert_eq!(found("a.rs", "// `shop!` and `clippy::shop`"), 0);
    assert_eq!(found("a.md", "every shop has a door"), 0);

    let wrong = mentions(&file("a.rs", "let name = \"shop\";"), &words).concat();
    assert!(wrong.contains("add it to `ORDINARY_WORDS` in xtask/tests/architecture"), "{wrong}");
}

#[test]
fn fault_without_a_test_is_refused() {
    let source = "#[test]\n#[cfg(unix)]\nfn a_kill() {}\n#[tokio::test]\nasync fn a_flood() {}\n\
                  #[cfg(test)]\nmod tests {}\nfn helper() {}\n// #[test]\nfn told() {}\n\
                  each! {\n    a_name,\n}\n";
    let tests = tests(source).into_iter().collect();
    let wrong = |rows: &str| {
        let head = "| fault | reaction | tests |\n|---|---|---|\n";
        faults(&format!("# A\n\n{head}{rows}\n## B\n"), &tests).join("\n")
    };
    assert_eq!(wrong("| `x` | nothing | `a_kill`, `a_flood`, `a_name` (`tests/x.rs`) |\n"), "");
    assert!(wrong("| x | nothing | `a_kill`, `helper` |\n").contains("no test `helper`"));
    assert!(wrong("| x | nothing | `told` |\n").contains("no test `told`"));
    assert!(wrong("| x | nothing | `tests/x.rs` |\n").contains("no test is named"));
    assert!(wrong("").contains("lists no fault"));
}

#[test]
fn banned_word_is_found_in_prose_and_names() {
    let list = banned("# A\n\n## Banned words\n\nThese:\n\n- zig\n- zag zog\n\n## B\n\n- fine\n");
    assert_eq!(list, [vec!["zig"], vec!["zag", "zog"]]);
    let found = |path: &str, text: &str| banned_words(&file(path, text), &list);
    for text in [
        "A Zig here.",
        "let zig_x = 1;",
        "struct ZigZoom;",
        "struct BigZig;",
        "/// zag zog",
        "fn zag_zog() {}",
        "ZAG-zog",
        "x zag\n    /// zog x",
        "\"x zag \\\n        zog\"",
        "> zag\n> zog",
        "\"zig\"",
    ] {
        assert_eq!(found("a.rs", text).len(), 1, "{text}");
    }
    for text in
        ["zigs", "zag, zog", "zag.\n/// Zog", "zag(zog)", "zigzag zogs", "zag zip zog", "fine"]
    {
        assert_eq!(found("a.rs", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(found("a.md", "x\n\nzig"), ["a.md:3: `zig` is banned"]);
    assert_eq!(found("a.json", "zig"), Vec::<String>::new());
    assert_eq!(found("zag-zog.json", "").len(), 1);
    assert_eq!(banned("# No list\n"), Vec::<Vec<String>>::new());
}

#[test]
fn account_is_exempt_only_between_quotes() {
    let account = concat!("no", "body");
    let list = [vec![account.to_owned()]];
    let found = |text: String| banned_words(&file("a.rs", &text), &list).len();
    assert_eq!(found(format!("let x = \"{account}\"; // `{account}`")), 0);
    assert_eq!(found(format!("let x = \"{account} is here\"; // {account}")), 2);
}

#[test]
fn empty_doc_comment_is_found() {
    let found = |text: &str| empty_docs(&file("a.rs", text)).len();
    assert_eq!(found("/// Which.\nx\n    /// The service.\n//! Its.\n///\n"), 4);
    assert_eq!(found("/// Process id.\nx\n/// `FILE:LINE`.\nx\n//! One\n//! long line.\n"), 0);
    assert_eq!(found("// Which.\nlet x = \"/// Which.\"; /// a\n//////\n"), 0);
}

#[test]
fn long_test_name_is_found() {
    let named =
        |name: &str| long_names(&file("a.rs", &format!("#[test]\nfn {name}() {{}}\n"))).len();
    assert_eq!(named("a_b_c_d_e_f_g_h_i"), 0);
    assert_eq!(named("a_b_c_d_e_f_g_h_i_j"), 1);
    assert_eq!(long_names(&file("a.rs", "fn a_b_c_d_e_f_g_h_i_j() {}")), Vec::<String>::new());
}
