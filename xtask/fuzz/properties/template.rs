//! A template of any text: its parts, printed again, are the text.

use xtask_core::terms::template::{Asks, Field, Part, parse};

/// Checks the property for this text.
pub(crate) fn holds(text: &str) {
    let mut printed = String::new();
    for part in parse(text) {
        match part {
            // A literal dollar was written as two.
            Part::Literal("$") => printed += "$$",
            Part::Literal(literal) => {
                assert!(!literal.contains('$'), "{literal:?} in {text:?}");
                printed += literal;
            }
            Part::Reference { bytes, asks } => {
                assert_eq!(bytes.start, printed.len(), "there is a gap in {text:?}");
                printed = format!("{printed}${{{}}}", path(asks));
                assert_eq!(bytes.end, printed.len(), "{asks:?} in {text:?}");
            }
            Part::Fault { bytes, message, hint } => {
                assert_eq!(bytes.start, printed.len(), "there is a gap in {text:?}");
                assert!(text[bytes.clone()].starts_with('$'), "{bytes:?} in {text:?}");
                assert!(!message.is_empty() && !hint.is_empty(), "{text:?}");
                printed += &text[bytes];
            }
        }
    }
    assert_eq!(printed, text);
}

/// The reference as it is written between the braces.
fn path(asks: Asks<'_>) -> String {
    match asks {
        Asks::StackName => "stack.name".into(),
        Asks::StackData => "stack.data".into(),
        Asks::StackSecret => "stack.secret".into(),
        Asks::WorkspaceRoot => "workspace.root".into(),
        Asks::Variable(name) => format!("env.{name}"),
        Asks::Of { service, field, port } => {
            let field = match field {
                Field::Url => "url",
                Field::Host => "host",
                Field::Port => "port",
            };
            let port = port.map(|port| format!(".{port}")).unwrap_or_default();
            format!("{}.{field}{port}", service.unwrap_or("self"))
        }
        Asks::Unknown(path) => path.into(),
    }
}
