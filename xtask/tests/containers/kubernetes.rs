//! Objects for Kubernetes, held against the published schemas and read by `kubectl`.
//!
//! Nothing is applied: there is no cluster here.

use super::engine::Made;
use super::exports::shop;
use xtask_test_support::{Judge, PackageSpec};

#[test]
fn exported_objects_pass_schemas_and_kubectl() {
    // Beside the shop: copies, two ports, a log as the only probe, a number as a value.
    let till = "[package.metadata.service]\nname = \"till\"\nports = { http = 0, \
                a-very-long-name-of-a-port = 0 }\ndepends-on = [\"counter\"]\n\
                deploy = { replicas = 3 }\nready = { log = \"ready\" }\nrestart = \"always\"\n\
                env = { COUNT = \"7\", ON = \"yes\", EMPTY = \"\", DB_PASSWORD = \"a: b\" }\n";
    let till = PackageSpec::new("till", "till").bin("tilld", "fn main() {}").metadata(till);
    let fixture = shop("Export objects", 0).package(till).write();
    let Some(_made) = Made::by(&fixture) else { return };
    let out = fixture.root().join("out");
    fixture.xtask(&["export", "kubernetes", "--output", &out.to_string_lossy()]).ends_with(0);
    let objects = out.join("kubernetes.yaml");
    for judge in Judge::ALL {
        judge.takes(&objects);
        judge.takes(&out.join("secrets.yaml"));
        judge.refuses(&objects);
    }
}
