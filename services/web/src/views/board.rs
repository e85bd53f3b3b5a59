//! The page with all lists of a person and the items of one.

use axum::http::StatusCode;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::dates::{shown, today};
use super::{brand, hidden, icon, page, path, spoken};
use crate::store::{Item, Lists, Person};

const PLUS: &str = "M12 5v14M5 12h14";
const PENCIL: &str = "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3";
const CROSS: &str = "M6 6l12 12M18 6L6 18";
const UP: &str = "M6 15l6-6 6 6";
const DOWN: &str = "M6 9l6 6 6-6";
const TICK: &str = "M5 12.5l4.5 4.5L19 7.5";
const GRIP: &str = "M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01";

/// The last day that `todo` accepts. Without it, a browser accepts years of six digits.
const LAST_DAY: &str = "9999-12-31";

/// Which items are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Show {
    #[default]
    All,
    Open,
    Done,
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) show: Show,
    /// The id of the item that is edited.
    pub(crate) edit: Option<i64>,
}

/// A message above the items.
pub(crate) struct Notice {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// What a person can do about it.
    pub(crate) form: Option<Markup>,
}

/// Everything on the page.
pub(crate) struct Board<'a> {
    pub(crate) person: &'a Person,
    pub(crate) lists: &'a Lists,
    /// The name of the list that is shown.
    pub(crate) list: &'a str,
    pub(crate) items: &'a [Item],
    pub(crate) view: &'a View,
    pub(crate) notice: Option<Notice>,
}

impl View {
    /// The view that the parameter `show` asks for.
    pub(crate) fn of(show: &str) -> Self {
        let show = match show {
            "open" => Show::Open,
            "done" => Show::Done,
            _ => Show::All,
        };
        Self { show, edit: None }
    }
}

impl Show {
    /// The value of the parameter.
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Open => "open",
            Self::Done => "done",
        }
    }

    fn includes(self, item: &Item) -> bool {
        match self {
            Self::All => true,
            Self::Open => !item.completed,
            Self::Done => item.completed,
        }
    }
}

impl Board<'_> {
    /// The page. `proof` is for its forms.
    pub(crate) fn page(&self, proof: &str) -> Markup {
        let done = self.items.iter().filter(|item| item.completed).count();
        let title = format!("{} \u{2013} To-do", self.list);
        let content = html! {
            header.head {
                div {
                    h1 { (self.list) }
                    p.progress-text { (progress(done, self.items.len())) }
                }
                (self.list_menu(proof))
            }
            progress max=(self.items.len().max(1)) value=(done) aria-label="Done" {}
            (self.notice())
            (self.add_form(proof))
            (self.filters(done))
            (self.item_list(proof))
        };
        frame(&title, self.person, self.lists, Some(self.list), proof, content)
    }

    fn notice(&self) -> Markup {
        html! {
            div id="notices" role="status" aria-live="polite" {
                @if let Some(notice) = &self.notice {
                    div.notice.bad[notice.status != StatusCode::OK] id="notice" {
                        span { (notice.text) }
                        @if let Some(form) = &notice.form { (form) }
                    }
                }
            }
        }
    }

    fn list_menu(&self, proof: &str) -> Markup {
        let list = self.list;
        html! {
            details.menu id="list-menu" {
                summary { (icon(PENCIL)) span { "List" } }
                div.sheet {
                    form method="post" action=(path(&["lists", list, "rename"])) {
                        (hidden("proof", proof))
                        label for="rename" { "Name of the list" }
                        input id="rename" name="name" value=(list) required maxlength="100"
                            autocomplete="off";
                        button.button type="submit" { "Rename" }
                    }
                    form method="post" action=(path(&["lists", list, "delete"])) {
                        (hidden("proof", proof))
                        p.hint { "This removes the list with all its items for good." }
                        button.button.danger type="submit" { "Delete list" }
                    }
                }
            }
        }
    }

    fn add_form(&self, proof: &str) -> Markup {
        html! {
            form.add id="add" method="post" action=(path(&["lists", self.list, "items"])) {
                (hidden("proof", proof))
                (hidden("show", self.view.show.name()))
                label.spoken for="new-title" { "New item" }
                input id="new-title" name="title" placeholder="What needs to be done?" required
                    maxlength="500" autocomplete="off" enterkeyhint="done";
                label.spoken for="new-due" { "Due date of the new item" }
                input id="new-due" name="due" type="date" max=(LAST_DAY);
                button.button type="submit" { (icon(PLUS)) span { "Add" } }
            }
        }
    }

    fn filters(&self, done: usize) -> Markup {
        let all = self.items.len();
        let address = path(&["lists", self.list]);
        let choices =
            [(Show::All, "All", all), (Show::Open, "Open", all - done), (Show::Done, "Done", done)];
        html! {
            nav.filters id="filters" aria-label="Filter" {
                @for (show, text, count) in choices {
                    a href={ (address) "?show=" (show.name()) }
                        aria-current=[(show == self.view.show).then_some("true")] {
                        (text) span.count { (count) }
                    }
                }
            }
        }
    }

    fn item_list(&self, proof: &str) -> Markup {
        let shown: Vec<_> =
            self.items.iter().zip(1..).filter(|(item, _)| self.view.show.includes(item)).collect();
        let (today, last) = (today(), shown.len().saturating_sub(1));
        html! {
            ul.items id="items" aria-label={ "Items of " (self.list) } {
                @for (index, (item, place)) in shown.iter().copied().enumerate() {
                    @let before = index.checked_sub(1).map(|index| shown[index].1);
                    @let after = (index < last).then(|| shown[index + 1].1);
                    li.item.done[item.completed] id={ "item-" (item.id) } data-place=(place) {
                        @if self.view.edit == Some(item.id) {
                            (self.edit_form(item, proof))
                        } @else {
                            (self.item(item, place, (before, after), &today, proof))
                        }
                    }
                }
            }
            @if shown.is_empty() {
                p.empty id="empty" {
                    @match self.view.show {
                        Show::All => "Nothing to do here yet. Write down the first thing above.",
                        Show::Open => "All done. Enjoy the rest of the day.",
                        Show::Done => "Nothing is done yet.",
                    }
                }
            }
        }
    }

    fn item(
        &self,
        item: &Item,
        place: usize,
        (before, after): (Option<usize>, Option<usize>),
        today: &str,
        proof: &str,
    ) -> Markup {
        let id = item.id.to_string();
        let action = |action| path(&["lists", self.list, "items", &id, action]);
        let show = self.view.show.name();
        let label = |verb: &str| format!("{verb} \u{201c}{}\u{201d}", item.title);
        html! {
            span.grip title="Drag to move" aria-hidden="true" { (icon(GRIP)) }
            form method="post" action=(action("tick")) {
                (hidden("proof", proof)) (hidden("show", show))
                button.tick type="submit" name="completed" value=(!item.completed) role="checkbox"
                    aria-checked=(item.completed) aria-label=(item.title) { (icon(TICK)) }
            }
            div.text {
                span.title { (item.title) }
                @if let Some(due) = &item.due {
                    time.due.late[!item.completed && due.as_str() < today] datetime=(due) {
                        (shown(due, today))
                    }
                }
            }
            div.tools {
                form method="post" action=(action("move")) {
                    (hidden("proof", proof)) (hidden("show", show))
                    button.tool.up type="submit" name="place" value=[before] disabled[before.is_none()] {
                        (icon(UP)) (spoken(&label("Move up")))
                    }
                    button.tool.down type="submit" name="place" value=[after] disabled[after.is_none()] {
                        (icon(DOWN)) (spoken(&label("Move down")))
                    }
                }
                a.tool.edit href={ (path(&["lists", self.list])) "?show=" (show) "&edit=" (id) } {
                    (icon(PENCIL)) (spoken(&label("Edit")))
                }
                form method="post" action=(action("delete")) {
                    (hidden("proof", proof)) (hidden("show", show))
                    button.tool.delete type="submit" name="place" value=(place) {
                        (icon(CROSS)) (spoken(&label("Delete")))
                    }
                }
            }
        }
    }

    fn edit_form(&self, item: &Item, proof: &str) -> Markup {
        let id = item.id.to_string();
        let show = self.view.show.name();
        html! {
            form.change method="post" action=(path(&["lists", self.list, "items", &id])) {
                (hidden("proof", proof)) (hidden("show", show))
                label.spoken for="edit-title" { "Title" }
                input id="edit-title" name="title" value=(item.title) required maxlength="500"
                    autocomplete="off" autofocus;
                label.spoken for="edit-due" { "Due date" }
                input id="edit-due" name="due" type="date" max=(LAST_DAY) value=[item.due.as_deref()];
                button.button type="submit" { "Save" }
                a.quiet.cancel href={ (path(&["lists", self.list])) "?show=" (show) } { "Cancel" }
            }
        }
    }
}

/// The page of a person without lists, which is also the page for a new list. `name` is what was
/// entered before.
pub(crate) fn empty_page(
    person: &Person,
    lists: &Lists,
    notice: Option<String>,
    name: &str,
    proof: &str,
) -> Markup {
    let hint = if lists.summaries.is_empty() {
        "Name your first list: groceries, work, the big trip."
    } else {
        "Name the new list."
    };
    let content = html! {
        header.head {
            div {
                h1 { "Hello, " (person.name) }
                p.progress-text { (hint) }
            }
        }
        div id="notices" role="status" aria-live="polite" {
            @if let Some(notice) = notice { div.notice.bad id="notice" { span { (notice) } } }
        }
        form.add id="add" method="post" action="/" {
            (hidden("proof", proof))
            label.spoken for="new-list" { "Name of the new list" }
            input id="new-list" name="name" placeholder="Name of the list" value=(name) required
                maxlength="100" autocomplete="off" autofocus;
            button.button type="submit" { (icon(PLUS)) span { "Create" } }
        }
    };
    frame("To-do", person, lists, None, proof, content)
}

/// A form that adds a removed item again, at its place.
pub(crate) fn undo_form(list: &str, item: &Item, place: &str, show: &str, proof: &str) -> Markup {
    html! {
        form method="post" action=(path(&["lists", list, "items"])) {
            (hidden("proof", proof))
            (hidden("show", show))
            (hidden("title", &item.title))
            (hidden("completed", if item.completed { "true" } else { "false" }))
            @if let Some(due) = &item.due { (hidden("due", due)) }
            (hidden("place", if place.is_empty() { "1" } else { place }))
            button.button.small id="undo" type="submit" { "Undo" }
        }
    }
}

fn frame(
    title: &str,
    person: &Person,
    lists: &Lists,
    current: Option<&str>,
    proof: &str,
    content: Markup,
) -> Markup {
    page(
        title,
        false,
        html! {
            body.board data-live=(events_path(lists)) {
                a.skip href="#main" { "Skip to the list" }
                aside.side {
                    (brand())
                    nav id="lists" aria-label="Lists" {
                        @for list in &lists.summaries {
                            a href=(path(&["lists", &list.name]))
                                aria-current=[(current == Some(&list.name)).then_some("page")] {
                                span.name { (list.name) }
                                @if list.open > 0 {
                                    span.count { (list.open) (spoken(" open")) }
                                } @else if list.items > 0 {
                                    span.count.all { (icon(TICK)) (spoken("all done")) }
                                }
                            }
                        }
                    }
                    @if current.is_some() {
                        form.new-list method="post" action="/" {
                            (hidden("proof", proof))
                            label.spoken for="new-list" { "Name of the new list" }
                            input id="new-list" name="name" placeholder="New list" required
                                maxlength="100" autocomplete="off";
                            button.tool type="submit" { (icon(PLUS)) (spoken("Create list")) }
                        }
                    }
                    form.person method="post" action="/sign-out" {
                        (hidden("proof", proof))
                        span.name { (person.name) }
                        button.quiet type="submit" { "Sign out" }
                    }
                }
                main id="main" tabindex="-1" { (content) }
            }
        },
    )
}

/// The address of the stream of changes that this page does not contain.
fn events_path(lists: &Lists) -> String {
    let after = lists.last_event.as_deref().map(|id| utf8_percent_encode(id, NON_ALPHANUMERIC));
    after.map_or_else(|| "/events".to_owned(), |id| format!("/events?after={id}"))
}

fn progress(done: usize, all: usize) -> String {
    match (done, all) {
        (_, 0) => "No items".to_owned(),
        (done, all) if done == all => format!("All {all} done"),
        (done, all) => format!("{done} of {all} done"),
    }
}
