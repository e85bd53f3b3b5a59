//! JSON Schemas of bodies, and the macro [`answer!`](crate::answer!), which declares the body of an
//! answer.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A type that has a JSON Schema and an example.
pub trait Schema {
    /// Whether a field of this type may be absent.
    const OPTIONAL: bool = false;

    /// The schema: a reference to a component, which is added, or one in place.
    fn schema(components: &mut Components) -> Value;

    /// A value as an example.
    fn example() -> Value;

    /// Whether the value of a field is left out of its object.
    fn is_absent(&self) -> bool {
        false
    }
}

/// The named schemas of a document.
#[derive(Debug, Default)]
pub struct Components(Map<String, Value>);

/// A property of an object.
#[derive(Debug)]
pub struct Property {
    /// The name of its field.
    pub name: &'static str,
    /// Its description, or an empty text.
    pub description: &'static str,
    /// Whether it is always present.
    pub required: bool,
    /// The schema of its values.
    pub schema: Value,
}

/// The properties of an object that are not described.
#[derive(Clone, Copy, Debug)]
pub enum Further {
    /// There may be more in later versions.
    Possible,
    /// There are none, except these, which are ignored.
    Refused(&'static [&'static str]),
}

impl Components {
    /// Adds the schema of an object, and returns a reference to it. `example` is one of its values.
    pub fn object(
        &mut self,
        name: &'static str,
        description: &str,
        properties: impl FnOnce(&mut Self) -> (Vec<Property>, Further),
        example: Value,
    ) -> Value {
        if !self.0.contains_key(name) {
            let (properties, further) = properties(self);
            let schema = object(description, properties, further, example);
            self.0.insert(name.to_owned(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// The schemas by name.
    pub fn into_schemas(self) -> Map<String, Value> {
        self.0
    }
}

fn object(description: &str, properties: Vec<Property>, further: Further, example: Value) -> Value {
    let mut members = Map::new();
    let mut required = Vec::new();
    for Property { name, description, required: always, mut schema } in properties {
        if !description.is_empty() {
            schema["description"] = description.trim().into();
        }
        members.insert(name.to_owned(), schema);
        if always {
            required.push(name);
        }
    }
    let mut schema = json!({"type": "object", "description": description.trim()});
    if let Further::Refused(ignored) = further {
        let text = "Ignored, so that an answer can be sent back as it was read.";
        for name in ignored {
            members.insert((*name).to_owned(), json!({"description": text}));
        }
        schema["additionalProperties"] = false.into();
    }
    schema["properties"] = members.into();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema["examples"] = json!([example]);
    schema
}

/// A JSON object of these members.
pub fn members<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The name of a field in JSON: that in the code, which may be a raw identifier.
pub const fn field_name(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

macro_rules! plain {
    ($($type:ty: $schema:tt, $example:expr;)+) => {$(
        impl Schema for $type {
            fn schema(_: &mut Components) -> Value {
                json!($schema)
            }

            fn example() -> Value {
                $example.into()
            }
        }
    )+};
}

plain! {
    String: {"type": "string"}, "Buy milk";
    bool: {"type": "boolean"}, false;
    i64: {"type": "integer"}, 1;
    u64: {"type": "integer", "minimum": 0}, 1;
    u16: {"type": "integer", "minimum": 0, "maximum": 65535}, 1;
}

impl<T: Schema> Schema for Option<T> {
    const OPTIONAL: bool = true;

    fn schema(components: &mut Components) -> Value {
        T::schema(components)
    }

    fn example() -> Value {
        T::example()
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn schema(components: &mut Components) -> Value {
        json!({"type": "array", "items": T::schema(components)})
    }

    fn example() -> Value {
        json!([T::example()])
    }
}

impl<T: Schema> Schema for BTreeMap<String, T> {
    fn schema(components: &mut Components) -> Value {
        json!({"type": "object", "additionalProperties": T::schema(components)})
    }

    fn example() -> Value {
        members([("home", T::example())])
    }
}

/// Declares the body of an answer: a struct that is written as JSON, whose fields have an example.
/// A field of the type `Option` is absent when it is `None`.
///
/// ```ignore
/// kit::answer! {
///     /// An item.
///     pub struct ItemBody {
///         /// Its number.
///         pub id: i64 = 7,
///         /// The day on which it is due.
///         pub due: Option<String> = "2026-12-31",
///     }
/// }
/// ```
#[macro_export]
macro_rules! answer {
    (
        $(#[doc = $doc:literal])*
        $(#[derive($($derive:path),+)])?
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field_vis:vis $field:ident: $type:ty = $example:expr
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq $($(, $derive)+)?)]
        $vis struct $name {
            $($(#[doc = $field_doc])* $field_vis $field: $type,)*
        }

        impl $crate::serde::Serialize for $name {
            fn serialize<S: $crate::serde::Serializer>(
                &self,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                use $crate::openapi::Schema;
                const FIELDS: usize = [$(stringify!($field)),*].len();
                use $crate::serde::ser::SerializeStruct as _;
                let mut members = serializer.serialize_struct(stringify!($name), FIELDS)?;
                $(
                    if !<$type as Schema>::is_absent(&self.$field) {
                        const NAME: &str = $crate::openapi::field_name(stringify!($field));
                        members.serialize_field(NAME, &self.$field)?;
                    }
                )*
                members.end()
            }
        }

        impl $crate::openapi::Schema for $name {
            fn schema(components: &mut $crate::openapi::Components) -> $crate::openapi::Value {
                components.object(stringify!($name), concat!($($doc),*), |components| {
                    let properties = vec![$(
                        $crate::openapi::Property {
                            name: $crate::openapi::field_name(stringify!($field)),
                            description: concat!($($field_doc),*),
                            required: !<$type as $crate::openapi::Schema>::OPTIONAL,
                            schema: <$type as $crate::openapi::Schema>::schema(components),
                        }
                    ),*];
                    (properties, $crate::openapi::Further::Possible)
                }, Self::example())
            }

            fn example() -> $crate::openapi::Value {
                $crate::openapi::members([$((
                    $crate::openapi::field_name(stringify!($field)),
                    $crate::openapi::Value::from($example),
                )),*])
            }
        }
    };
}
