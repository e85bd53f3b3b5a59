//! The OpenAPI document of a service, made from its code: paths and summaries from the table of
//! routes, parameters and bodies from the arguments of each handler, answers from its result.
//!
//! `document.rs` puts the parts together. The document is committed, and [`check`] compares it.
//! [`operations`] reads it for tests of the errors.

mod document;
mod documented;
mod operation;
mod schema;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
pub use serde_json::Value;

pub use self::document::{About, check};
pub(crate) use self::document::{Entry, document};
pub use self::documented::{Documented, operations, status_of};
pub use self::operation::Operation;
pub use self::schema::{Components, Further, Property, Schema, field_name, members};
use crate::base_url::BaseUrl;
use crate::context::RequestContext;
use crate::serve::Stopping;
use crate::tags::Tag;

/// What an argument of a handler reads from a request.
pub trait Reads {
    /// Adds it to the operation.
    fn describe(operation: &mut Operation);
}

/// What a handler answers.
pub trait Answers {
    /// Adds it to the operation.
    fn describe(operation: &mut Operation);
}

/// A handler that is described by its arguments `A` and its result.
pub trait Described<A> {
    /// The operation that the handler serves.
    fn operation() -> Operation;
}

/// A success of status 201 with the address of what was created.
#[derive(Debug)]
pub struct Created<T> {
    /// The absolute URL.
    pub location: String,
    /// What was created.
    pub body: T,
    /// The tag of what was created, if a GET of it has one.
    pub tag: Option<Tag>,
}

/// A success whose body is the JSON of a `T`, but was not written from one: a long answer.
#[derive(Debug)]
pub struct Written<T> {
    response: Response,
    body: std::marker::PhantomData<fn() -> T>,
}

impl<T> From<Response> for Written<T> {
    fn from(response: Response) -> Self {
        Self { response, body: std::marker::PhantomData }
    }
}

impl<T> Written<T> {
    /// Adds a header, if there is one.
    pub fn with_header(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.response.headers_mut().extend(value.map(|value| (name, value)));
        self
    }
}

impl<T> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        self.response
    }
}

impl<T: serde::Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let location = [(axum::http::header::LOCATION, self.location)];
        let mut response = (StatusCode::CREATED, location, Json(self.body)).into_response();
        response.headers_mut().extend(self.tag.and_then(|tag| tag.header()));
        response
    }
}

macro_rules! reads_nothing {
    ($([$($generic:ident)?] $type:ty),+) => {$(
        impl$(<$generic>)? Reads for $type {
            fn describe(_: &mut Operation) {}
        }
    )+};
}

// The parameters of a path are described by the table of routes.
reads_nothing! { [T] Path<T>, [] BaseUrl, [] RequestContext, [] Stopping }

/// The state of a service is its storage, which may be unavailable or fail.
impl<S> Reads for State<S> {
    fn describe(operation: &mut Operation) {
        operation.fails(StatusCode::INTERNAL_SERVER_ERROR);
        operation.fails(StatusCode::SERVICE_UNAVAILABLE);
    }
}

impl<T: Schema> Answers for Json<T> {
    fn describe(operation: &mut Operation) {
        operation.answers::<T>(StatusCode::OK);
    }
}

impl<T: Schema> Answers for (StatusCode, Json<T>) {
    fn describe(operation: &mut Operation) {
        operation.answers::<T>(StatusCode::CREATED);
    }
}

impl<T: Schema> Answers for Created<T> {
    fn describe(operation: &mut Operation) {
        operation.answers::<T>(StatusCode::CREATED);
        operation.answers_header(StatusCode::CREATED, "Location", "The absolute URL.");
    }
}

impl<T: Schema> Answers for Written<T> {
    fn describe(operation: &mut Operation) {
        operation.answers::<T>(StatusCode::OK);
        operation.answers_tag(StatusCode::OK);
    }
}

/// A handler whose answer has only a status: it removes.
impl Answers for StatusCode {
    fn describe(operation: &mut Operation) {
        operation.answers_nothing(Self::NO_CONTENT);
    }
}

impl Answers for &'static str {
    fn describe(operation: &mut Operation) {
        operation.answers_media("text/plain");
    }
}

impl<T: Answers, E> Answers for Result<T, E> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

macro_rules! described {
    ($($argument:ident)*) => {
        impl<H, F, $($argument: Reads),*> Described<($($argument,)*)> for H
        where
            H: FnOnce($($argument),*) -> F,
            F: Future<Output: Answers>,
        {
            fn operation() -> Operation {
                let mut operation = Operation::of(std::any::type_name::<H>());
                <F::Output as Answers>::describe(&mut operation);
                $($argument::describe(&mut operation);)*
                operation
            }
        }
    };
}

described! {}
described! { A }
described! { A B }
described! { A B C }
described! { A B C D }
described! { A B C D E }
described! { A B C D E G }
described! { A B C D E G I }

#[cfg(test)]
mod tests;
