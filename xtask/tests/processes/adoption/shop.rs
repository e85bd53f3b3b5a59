//! A workspace whose services may run already. No tests, only what they need.

use std::path::PathBuf;
use std::process::Command;

use crate::by_hand::ByHand;
use xtask_test_support::{Fixture, PackageSpec, SERVICE, free_port};

/// Where `stock` keeps its goods, with a secret in it.
const GOODS: &str = "GOODS = \"store://clerk:hunter1@local${stack.data}/goods\"";

/// `front` waits for `stock`, whose port has a fixed number.
pub(super) struct Shop {
    pub(super) fixture: Fixture,
    pub(super) number: u16,
}

impl Shop {
    pub(super) fn new(more: &str) -> Self {
        let number = free_port();
        let stock = format!(
            "[package.metadata.service]\nname = \"stock\"\nport = {number}\n\
             env = {{ {GOODS}, LOUD = \"no\" }}\n{more}"
        );
        let front = "[package.metadata.service]\nname = \"front\"\nport = 0\n\
                     depends-on = [\"stock\"]\n";
        let package = |name: &str, metadata: &str| {
            PackageSpec::new(&format!("apps/{name}"), name).bin(name, SERVICE).metadata(metadata)
        };
        let fixture = Fixture::new("shop")
            .package(package("stockroom", &stock))
            .package(package("shopfront", front))
            .write();
        Self { fixture, number }
    }

    /// The program as cargo leaves it.
    pub(super) fn program(&self) -> PathBuf {
        self.fixture.root().join("target/debug/stockroom")
    }

    pub(super) fn build(&self) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--offline"]).current_dir(self.fixture.root());
        cargo.env_remove("CARGO_TARGET_DIR");
        assert!(cargo.status().unwrap().success());
    }

    /// The variables of a service, as the plan has them.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let env = self.fixture.xtask(&["env", "stock", "--json"]).ends_with(0).json();
        let all = env.as_object().unwrap().iter();
        all.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
    }

    /// Starts the program by hand, with the right variables and these on top.
    pub(super) fn by_hand(&self, changed: &[(&str, &str)]) -> ByHand {
        let mut command = Command::new(self.program());
        command.env_clear().envs(self.variables()).envs(changed.iter().copied());
        ByHand::listening(command, self.number)
    }
}
