//! Lists over HTTP: the two read paths of the original; create, rename and remove.
//!
//! Several lists are always in order of creation.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LINK;
use kit::auth::Caller;
use kit::pages::{self, Sequence, Shape};
use kit::problem::FieldError;
use kit::{BaseUrl, Created, Once, Paging, Problem, Span, Written, check_username};

use super::events::Followable;
use super::items;
use crate::bodies::{ListBody, ListChange, MAX_NAME_CHARS, Names, NewList, SummaryBody};
use crate::changes;
use crate::error::Error;
use crate::keys::{ListKey, Owner};
use crate::store::{FIRST, Item, OverviewRow, Store, Summary};

/// The titles of each list by its name.
type Titles = BTreeMap<String, Vec<String>>;

/// A JSON object from list names to titles, lists in order of creation.
#[derive(Default)]
struct Overview {
    /// The id of the list whose titles are being written.
    list: Option<i64>,
    titles: bool,
}

impl Shape<OverviewRow> for Overview {
    fn row(&mut self, row: OverviewRow, text: &mut pages::Json) {
        if self.list != Some(row.list) {
            text.raw(if self.list.is_some() { "]," } else { "{" });
            text.value(&row.name);
            text.raw(":[");
            *self = Self { list: Some(row.list), titles: false };
        }
        if let Some(title) = row.title {
            if self.titles {
                text.raw(",");
            }
            text.value(&title);
            self.titles = true;
        }
    }

    fn end(&mut self, text: &mut pages::Json) {
        text.raw(if self.list.is_some() { "]}" } else { "{}" });
    }
}

pub(super) async fn names(
    State(store): State<Store>,
    _: Caller,
    paging: Paging<i64>,
) -> Result<Written<Names>, Error> {
    let first = store.list_names(paging.first(0)).await?;
    let shape = Sequence::new("{\"lists\":[", "]}", |text: &mut pages::Json, (_, name)| {
        text.value::<String>(&name);
    });
    Ok(pages::answer(&paging, first, shape, move |span| {
        let store = store.clone();
        async move { store.list_names(span).await }
    }))
}

pub(super) async fn of_user(
    State(store): State<Store>,
    owner: Owner,
    paging: Paging<i64>,
) -> Result<Written<Titles>, Error> {
    let start = paging.first(0).after;
    let end = match paging.limit() {
        Some(limit) => store.page_end(&owner, start, limit).await?,
        None => None,
    };
    let link = end.and_then(|end| paging.link(&end));
    let until = end.unwrap_or(i64::MAX);
    // A page begins with a complete list.
    let after = if start == 0 { 0 } else { start.saturating_add(1) };
    let first = store.overview(&owner, until, Span::after((after, FIRST))).await?;
    let answer = pages::answer(&Paging::all(), first, Overview::default(), move |span| {
        let (store, owner) = (store.clone(), owner.clone());
        async move { store.overview(&owner, until, span).await }
    });
    Ok(answer.with_header(LINK, link))
}

pub(super) async fn summaries(
    State(store): State<Store>,
    owner: Owner,
    paging: Paging<i64>,
    base: BaseUrl,
) -> Result<Followable<Written<Vec<SummaryBody>>>, Error> {
    let span = paging.first(0);
    let from_start = span.after == 0;
    let first = store.summaries(&owner, span).await?;
    let is_all = from_start && first.next.is_none();
    let state = is_all.then(|| changes::State::of(&first.rows));
    let username = owner.username().to_owned();
    let shape = Sequence::new("[", "]", move |text: &mut pages::Json, summary: Summary| {
        let url = base.join(["lists", &username, &summary.name]);
        let Summary { name, items, open, .. } = summary;
        text.value(&SummaryBody { name, items, open, url });
    });
    let answer = pages::answer(&paging, first, shape, move |span| {
        let (store, owner) = (store.clone(), owner.clone());
        async move { store.summaries(&owner, span).await }
    });
    Ok(Followable(answer, state))
}

pub(super) async fn create(
    State(store): State<Store>,
    owner: Owner,
    base: BaseUrl,
    once: Once,
    new: NewList,
) -> Result<Created<ListBody>, Error> {
    let invalid = |mistake| Problem::from(FieldError::new("username", mistake));
    check_username(owner.username(), MAX_NAME_CHARS).map_err(invalid)?;
    let key = ListKey { owner, list: new.name };
    let items = store.create_list(&key, &new.items.unwrap_or_default(), &once).await?;
    let body = describe(key, items, &base);
    Ok(Created { location: body.url.clone(), body, tag: None })
}

pub(super) async fn delete_all(
    State(store): State<Store>,
    owner: Owner,
) -> Result<StatusCode, Error> {
    store.delete_lists(&owner).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn read(
    State(store): State<Store>,
    key: ListKey,
    base: BaseUrl,
) -> Result<Written<ListBody>, Error> {
    let mut open = pages::Json::default();
    open.value(&describe(key.clone(), Vec::new(), &base));
    let open = open.into_text();
    // The items are the last member.
    items::sequence(open.trim_end_matches("]}"), "]}", &Paging::all(), store, key, base).await
}

pub(super) async fn rename(
    State(store): State<Store>,
    key: ListKey,
    base: BaseUrl,
    ListChange { name }: ListChange,
) -> Result<Json<ListBody>, Error> {
    let items = store.rename_list(&key, &name).await?;
    Ok(Json(describe(ListKey { list: name, ..key }, items, &base)))
}

pub(super) async fn delete(State(store): State<Store>, key: ListKey) -> Result<StatusCode, Error> {
    store.delete_list(&key).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn describe(key: ListKey, items: Vec<Item>, base: &BaseUrl) -> ListBody {
    let path = ["lists", key.owner.username(), &key.list];
    ListBody {
        url: base.join(path),
        items_url: base.join(path.into_iter().chain(["items"])),
        items: items.into_iter().map(|item| items::describe(item, &key, base)).collect(),
        username: key.owner.username().to_owned(),
        name: key.list,
    }
}
