//! The JSON bodies of requests and answers, with the limits of their fields.

use kit::MAX_INTEGER;

/// The longest name of a user or a list, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// The longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 500;

/// The largest number of items that a request creates together with their list.
pub const MAX_NEW_ITEMS: usize = 1000;

/// The largest number of items of one list.
pub const MAX_ITEMS: i64 = 2000;

kit::body! {
    /// A list to create.
    pub struct NewList {
        /// Its name, unique per user.
        pub name: String = name(MAX_NAME_CHARS) => "home",
        /// The titles of its first items.
        pub items: Option<Vec<String>> = texts(MAX_NEW_ITEMS, MAX_TITLE_CHARS) => ["Buy milk"],
    }
}

kit::body! {
    /// A change of a list.
    pub struct ListChange {
        /// The new name.
        pub name: String = name(MAX_NAME_CHARS) => "house",
    }
}

kit::body! {
    /// An item to create.
    pub struct NewItem {
        /// What to do.
        pub title: String = text(MAX_TITLE_CHARS) => "Buy milk",
        /// Whether it is done.
        pub completed: Option<bool> = flag() => false,
        /// Its position; by default the end of the list.
        pub order: Option<i64> = integer(-MAX_INTEGER..=MAX_INTEGER) => 1,
        /// Its place among the items, where 1 is the first; it has precedence over `order`.
        pub place: Option<i64> = integer(1..=MAX_ITEMS) => 1,
        /// The day on which it is due; null is none.
        pub due: Option<Option<String>> = date() => "2026-12-31",
    }
    ignored: id, url;
}

kit::body! {
    /// A change of an item; an absent field keeps its value.
    pub struct ItemChange {
        /// The new title.
        pub title: Option<String> = text(MAX_TITLE_CHARS) => "Buy oat milk",
        /// Whether it is done.
        pub completed: Option<bool> = flag() => true,
        /// The new position.
        pub order: Option<i64> = integer(-MAX_INTEGER..=MAX_INTEGER) => 2,
        /// The new place among the items, where 1 is the first; it has precedence over `order`.
        pub place: Option<i64> = integer(1..=MAX_ITEMS) => 1,
        /// The new day on which it is due; null is none.
        pub due: Option<Option<String>> = date() => "2027-01-31",
    }
    ignored: id, url;
}

kit::answer! {
    /// An item of a list.
    pub struct ItemBody {
        /// Its number; never reused.
        pub id: i64 = 7,
        /// What to do.
        pub title: String = "Buy milk",
        /// Whether it is done.
        pub completed: bool = false,
        /// Its position: ascending, and older items first among equals.
        pub order: i64 = 1,
        /// The day on which it is due; absent for an item that is never due.
        pub due: Option<String> = "2026-12-31",
        /// Its absolute address.
        pub url: String = "http://127.0.0.1:5001/lists/ann/home/items/7",
    }
}

kit::answer! {
    /// A list with its items.
    pub struct ListBody {
        /// The user who owns it.
        pub username: String = "ann",
        /// The name of the list.
        pub name: String = "home",
        /// Its absolute address.
        pub url: String = "http://127.0.0.1:5001/lists/ann/home",
        /// The address of its items, a root of the Todo-Backend API.
        pub items_url: String = "http://127.0.0.1:5001/lists/ann/home/items",
        /// Its items in order.
        pub items: Vec<ItemBody> = vec![ItemBody::example()],
    }
}

kit::answer! {
    /// A list with its numbers of items.
    pub struct SummaryBody {
        /// The name of the list.
        pub name: String = "home",
        /// The number of its items.
        pub items: i64 = 3,
        /// Those that are not done.
        pub open: i64 = 2,
        /// Its absolute address.
        pub url: String = "http://127.0.0.1:5001/lists/ann/home",
    }
}

kit::answer! {
    /// The names of lists.
    pub struct Names {
        /// The names in order of creation.
        pub lists: Vec<String> = vec!["home", "work"],
    }
}
