//! The lists and items in the database: every SQL statement of this service.
//!
//! Every statement works on SQLite and on PostgreSQL; the migrations differ. Constraints of the
//! database enforce uniqueness. A method that writes returns after the commit.

use kit::pages::Page;
use kit::{Database, IfMatch, MAX_INTEGER, Migration, Once, Span, Tag};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use crate::bodies::{ItemChange, MAX_ITEMS, NewItem};
use crate::changes::Changes;
use crate::error::Error;
use crate::keys::{ACCOUNT_MARK, ListKey, Owner};
use crate::places;

/// The largest number of lists of one user.
pub const MAX_LISTS: i64 = 200;

/// The lists of all users.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    changes: Changes,
}

/// One item of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number; never reused.
    pub id: i64,
    /// What to do.
    pub title: String,
    /// Whether it is done.
    pub completed: bool,
    /// Its position: ascending, and older items first among equals.
    pub order: i64,
    /// The day on which it is due, as `YYYY-MM-DD`.
    pub due: Option<String>,
}

/// The numbers of items of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The id of the list.
    pub id: i64,
    /// The name of the list.
    pub name: String,
    /// All its items.
    pub items: i64,
    /// Those that are not done.
    pub open: i64,
    /// Counts the changes of the list.
    pub version: i64,
}

/// One item in the overview of a user's lists. A list without items has one row without a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverviewRow {
    /// The id of the list.
    pub list: i64,
    /// The name of the list.
    pub name: String,
    /// The title of the item.
    pub title: Option<String>,
    /// The place of the item in the list.
    pub place: ItemCursor,
}

/// A place among the items of a list: position and id of the item before.
pub type ItemCursor = (i64, i64);

/// A place in the overview of a user's lists: a list, and a place in it.
pub type OverviewCursor = (i64, ItemCursor);

/// Before the first item.
pub const FIRST: ItemCursor = (i64::MIN, i64::MIN);

/// Behind the last item.
const LAST: ItemCursor = (i64::MAX, i64::MAX);

/// The versions of the schema; opening the database applies those that are missing.
pub const MIGRATIONS: [Migration; 5] = [
    Migration {
        version: 1,
        description: "lists and items",
        sqlite: include_str!("../migrations/sqlite/0001_lists_and_items.sql"),
        postgres: include_str!("../migrations/postgres/0001_lists_and_items.sql"),
    },
    Migration {
        version: 2,
        description: "lists by user",
        sqlite: include_str!("../migrations/sqlite/0002_lists_by_user.sql"),
        postgres: include_str!("../migrations/postgres/0002_lists_by_user.sql"),
    },
    Migration {
        version: 3,
        description: "due dates",
        sqlite: include_str!("../migrations/sqlite/0003_due_dates.sql"),
        postgres: include_str!("../migrations/postgres/0003_due_dates.sql"),
    },
    kit::once::migration(4),
    Migration {
        version: 5,
        description: "list versions",
        sqlite: include_str!("../migrations/sqlite/0005_list_versions.sql"),
        postgres: include_str!("../migrations/postgres/0005_list_versions.sql"),
    },
];

impl Store {
    /// The store in a migrated database.
    pub fn new(database: Database) -> Self {
        Self { changes: Changes::new(database.clone()), database }
    }

    /// Who follows changes.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The ids and names of the lists of all open owners, in order of creation.
    pub async fn list_names(&self, span: Span<i64>) -> Result<Page<(i64, String), i64>, Error> {
        let rows = sqlx::query(
            "SELECT id, name FROM lists WHERE id > $1 AND substr(username, 1, 1) <> $3 \
             ORDER BY id LIMIT $2 + 0",
        );
        let rows = rows.bind(span.after).bind(span.limit()).bind(ACCOUNT_MARK.to_string());
        let rows = rows.fetch_all(self.database.reader()).await?;
        let names = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let names = names.collect::<Result<_, sqlx::Error>>()?;
        Ok(Page::new(names, &span, |(id, _)| *id))
    }

    /// The lists of a user in order of creation, with their numbers of items.
    pub async fn summaries(
        &self,
        owner: &Owner,
        span: Span<i64>,
    ) -> Result<Page<Summary, i64>, Error> {
        let rows = sqlx::query(
            "SELECT lists.id, lists.name, COUNT(items.id), \
             COUNT(CASE WHEN items.completed = 0 THEN 1 END), lists.version FROM lists \
             LEFT JOIN items ON items.list_id = lists.id \
             WHERE lists.username = $1 AND lists.id > $2 \
             GROUP BY lists.id, lists.name, lists.version ORDER BY lists.id LIMIT $3 + 0",
        );
        let rows = rows.bind(owner.key()).bind(span.after).bind(span.limit());
        let rows = rows.fetch_all(self.database.reader()).await?;
        let summaries = rows.iter().map(|row| {
            let (id, name, version) = (row.try_get(0)?, row.try_get(1)?, row.try_get(4)?);
            Ok(Summary { id, name, items: row.try_get(2)?, open: row.try_get(3)?, version })
        });
        let summaries = summaries.collect::<Result<_, sqlx::Error>>()?;
        Ok(Page::new(summaries, &span, |summary| summary.id))
    }

    /// The last list of a page of `limit` lists behind the list `after`; `None` on the last page.
    pub async fn page_end(
        &self,
        owner: &Owner,
        after: i64,
        limit: usize,
    ) -> Result<Option<i64>, Error> {
        let select =
            "SELECT id FROM lists WHERE username = $1 AND id > $2 ORDER BY id LIMIT $3 + 0";
        let rows = sqlx::query(select).bind(owner.key()).bind(after).bind(limit as i64 + 1);
        let rows = rows.fetch_all(self.database.reader()).await?;
        let is_last = rows.len() <= limit;
        let end = rows.get(limit - 1).filter(|_| !is_last).map(|row| row.try_get(0));
        Ok(end.transpose()?)
    }

    /// The items of the lists of a user up to the list `end`, lists in order of creation.
    ///
    /// # Errors
    /// When there is no row at the start: the user has no lists.
    pub async fn overview(
        &self,
        owner: &Owner,
        end: i64,
        span: Span<OverviewCursor>,
    ) -> Result<Page<OverviewRow, OverviewCursor>, Error> {
        let (list, (position, id)) = span.after;
        let rows = sqlx::query(
            "SELECT lists.id, lists.name, items.title, items.position, items.id FROM lists \
             LEFT JOIN items ON items.list_id = lists.id \
             AND (lists.id > $2 OR (items.position, items.id) > ($3, $4)) \
             WHERE lists.username = $1 AND lists.id >= $2 AND lists.id <= $6 \
             ORDER BY lists.id, items.position, items.id LIMIT $5 + 0",
        );
        let rows = rows.bind(owner.key()).bind(list).bind(position).bind(id);
        let rows = rows.bind(span.limit()).bind(end).fetch_all(self.database.reader()).await?;
        if rows.is_empty() && list == 0 {
            return Err(Error::NoLists(owner.username().to_owned()));
        }
        let rows = rows.iter().map(|row| {
            let (list, name, title) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(OverviewRow { list, name, title, place: item_cursor(row, 3)? })
        });
        let rows = rows.collect::<Result<_, sqlx::Error>>()?;
        Ok(Page::new(rows, &span, |row: &OverviewRow| (row.list, row.place)))
    }

    /// Creates a list with these items in one transaction, and returns the items.
    ///
    /// # Errors
    /// When the user already has a list of that name, or [`MAX_LISTS`] lists.
    pub async fn create_list(
        &self,
        key: &ListKey,
        titles: &[String],
        once: &Once,
    ) -> Result<Vec<Item>, Error> {
        let (mut write, owner) = (self.database.write().await?, key.owner.key());
        if let Some(items) = once.first(&mut write, &owner, &(key, titles)).await? {
            return Ok(items);
        }
        let count = sqlx::query("SELECT COUNT(*) FROM lists WHERE username = $1");
        let count = count.bind(key.owner.key()).fetch_one(&mut *write).await?;
        if count.try_get::<i64, _>(0)? >= MAX_LISTS {
            return Err(Error::TooManyLists(key.owner.username().to_owned()));
        }
        let insert = "INSERT INTO lists (username, name) VALUES ($1, $2) RETURNING id";
        let inserted = query(insert, key).fetch_one(&mut *write).await;
        let id: i64 = inserted.map_err(|error| key.taken_or(error))?.try_get(0)?;
        let mut items = Vec::new();
        for (title, position) in titles.iter().zip(1_i64..) {
            let insert = "INSERT INTO items (list_id, title, completed, position) \
                 VALUES ($1, $2, 0, $3) RETURNING id, title, completed, position, due";
            let insert = sqlx::query(insert).bind(id).bind(title.clone()).bind(position);
            items.push(item(&insert.fetch_one(&mut *write).await?)?);
        }
        once.keep(&mut write, &owner, &items).await?;
        self.changes.commit(write, &key.owner).await?;
        Ok(items)
    }

    /// Renames a list, and returns its items.
    ///
    /// # Errors
    /// When there is no such list, or another list has that name.
    pub async fn rename_list(&self, key: &ListKey, name: &str) -> Result<Vec<Item>, Error> {
        let mut write = self.database.write().await?;
        let update =
            "UPDATE lists SET name = $3, version = version + 1 WHERE username = $1 AND name = $2";
        let update = query(update, key).bind(name.to_owned());
        let renamed = ListKey { owner: key.owner.clone(), list: name.to_owned() };
        let updated = update.execute(&mut *write).await.map_err(|error| renamed.taken_or(error))?;
        if updated.rows_affected() == 0 {
            return Err(key.missing());
        }
        let items = read_items(&mut write, &renamed).await?;
        self.changes.commit(write, &key.owner).await?;
        Ok(items)
    }

    /// Removes a list and its items.
    ///
    /// # Errors
    /// When there is no such list.
    pub async fn delete_list(&self, key: &ListKey) -> Result<(), Error> {
        let mut write = self.database.write().await?;
        let delete = "DELETE FROM lists WHERE username = $1 AND name = $2";
        let deleted = query(delete, key).execute(&mut *write).await?;
        self.changes.commit(write, &key.owner).await?;
        if deleted.rows_affected() == 0 { Err(key.missing()) } else { Ok(()) }
    }

    /// Removes all lists of a user.
    ///
    /// # Errors
    /// When the user has no lists.
    pub async fn delete_lists(&self, owner: &Owner) -> Result<(), Error> {
        let mut write = self.database.write().await?;
        let delete = sqlx::query("DELETE FROM lists WHERE username = $1").bind(owner.key());
        let deleted = delete.execute(&mut *write).await?;
        self.changes.commit(write, owner).await?;
        let none = deleted.rows_affected() == 0;
        if none { Err(Error::NoLists(owner.username().to_owned())) } else { Ok(()) }
    }

    /// The items of a list in order.
    ///
    /// # Errors
    /// When there is no such list.
    pub async fn items(
        &self,
        key: &ListKey,
        span: Span<ItemCursor>,
    ) -> Result<Page<Item, ItemCursor>, Error> {
        let rows = select_items(key, span.after, span.limit());
        let items = items(key, rows.fetch_all(self.database.reader()).await?)?;
        Ok(Page::new(items, &span, |item| (item.order, item.id)))
    }

    /// The item with this id.
    ///
    /// # Errors
    /// When there is no such list or item.
    pub async fn item(&self, key: &ListKey, id: i64) -> Result<Item, Error> {
        let row = select_item(key, id).fetch_optional(self.database.reader()).await?;
        Ok(item(&row.ok_or_else(|| key.missing_item(id))?)?)
    }

    /// Adds an item.
    ///
    /// # Errors
    /// When there is no such list, or it has [`MAX_ITEMS`] items.
    pub async fn create_item(
        &self,
        key: &ListKey,
        new: NewItem,
        once: &Once,
    ) -> Result<Item, Error> {
        let (mut write, owner) = (self.database.write().await?, key.owner.key());
        if let Some(item) = once.first(&mut write, &owner, &new).await? {
            return Ok(item);
        }
        let list = list_id(&mut write, key).await?;
        let count = sqlx::query("SELECT COUNT(*) FROM items WHERE list_id = $1").bind(list);
        if count.fetch_one(&mut *write).await?.try_get::<i64, _>(0)? >= MAX_ITEMS {
            return Err(Error::TooManyItems(key.list.clone()));
        }
        let row = sqlx::query(
            "INSERT INTO items (list_id, title, completed, due, position) VALUES ($1, $2, $3, $6, COALESCE($4, \
             (SELECT COALESCE(MAX(CASE WHEN position < $5 THEN position + 1 ELSE $5 END), 1) \
             FROM items WHERE list_id = $1))) \
             RETURNING id, title, completed, position, due",
        )
        .bind(list)
        .bind(new.title)
        .bind(i64::from(new.completed.unwrap_or(false)))
        .bind(new.order)
        .bind(MAX_INTEGER)
        .bind(new.due.flatten())
        .fetch_one(&mut *write)
        .await?;
        let item = places::put(&mut write, list, item(&row)?, new.place).await?;
        once.keep(&mut write, &owner, &item).await?;
        self.changes.commit(write, &key.owner).await?;
        Ok(item)
    }

    /// Changes an item.
    ///
    /// # Errors
    /// When there is no such list or item.
    pub async fn change_item(
        &self,
        key: &ListKey,
        id: i64,
        change: ItemChange,
        expected: &IfMatch,
    ) -> Result<Item, Error> {
        let mut write = self.database.write().await?;
        let list = list_id(&mut write, key).await?;
        check_item(&mut write, key, id, expected).await?;
        let row = sqlx::query(
            "UPDATE items SET title = COALESCE($3, title), completed = COALESCE($4, completed), \
             position = COALESCE($5, position), due = CASE WHEN $6 = 1 THEN $7 ELSE due END \
             WHERE list_id = $1 AND id = $2 RETURNING id, title, completed, position, due",
        )
        .bind(list)
        .bind(id)
        .bind(change.title)
        .bind(change.completed.map(i64::from))
        .bind(change.order)
        .bind(i64::from(change.due.is_some()))
        .bind(change.due.flatten())
        .fetch_optional(&mut *write)
        .await?;
        let item = item(&row.ok_or_else(|| key.missing_item(id))?)?;
        let item = places::put(&mut write, list, item, change.place).await?;
        self.changes.commit(write, &key.owner).await?;
        Ok(item)
    }

    /// Removes an item.
    ///
    /// # Errors
    /// When there is no such list or item.
    pub async fn delete_item(
        &self,
        key: &ListKey,
        id: i64,
        expected: &IfMatch,
    ) -> Result<(), Error> {
        let mut write = self.database.write().await?;
        let list = list_id(&mut write, key).await?;
        check_item(&mut write, key, id, expected).await?;
        let delete = sqlx::query("DELETE FROM items WHERE list_id = $1 AND id = $2");
        let deleted = delete.bind(list).bind(id).execute(&mut *write).await?;
        self.changes.commit(write, &key.owner).await?;
        if deleted.rows_affected() == 0 { Err(key.missing_item(id)) } else { Ok(()) }
    }

    /// Removes all items of a list.
    ///
    /// # Errors
    /// When there is no such list.
    pub async fn delete_items(&self, key: &ListKey) -> Result<(), Error> {
        let mut write = self.database.write().await?;
        let list = list_id(&mut write, key).await?;
        let delete = sqlx::query("DELETE FROM items WHERE list_id = $1").bind(list);
        delete.execute(&mut *write).await?;
        Ok(self.changes.commit(write, &key.owner).await?)
    }
}

type Query = sqlx::query::Query<'static, Any, sqlx::any::AnyArguments>;

/// A statement with username and list name as `$1` and `$2`.
fn query(statement: &'static str, key: &ListKey) -> Query {
    sqlx::query(statement).bind(key.owner.key()).bind(key.list.clone())
}

/// The id of a list that is about to change. Its row stays locked until the end of the transaction:
/// the list is not removed meanwhile, and two concurrent items do not get the same position.
async fn list_id(write: &mut Transaction<'static, Any>, key: &ListKey) -> Result<i64, Error> {
    let lock =
        "UPDATE lists SET version = version + 1 WHERE username = $1 AND name = $2 RETURNING id";
    let row = query(lock, key).fetch_optional(&mut **write).await?;
    Ok(row.ok_or_else(|| key.missing())?.try_get(0)?)
}

/// Selects a list and its items behind `after` in one statement, so that they are consistent.
fn select_items(key: &ListKey, after: ItemCursor, limit: i64) -> Query {
    let select = "SELECT items.id, items.title, items.completed, items.position, items.due FROM lists \
         LEFT JOIN items ON items.list_id = lists.id AND (items.position, items.id) > ($3, $4) \
         WHERE lists.username = $1 AND lists.name = $2 ORDER BY items.position, items.id LIMIT $5 + 0";
    query(select, key).bind(after.0).bind(after.1).bind(limit)
}

fn select_item(key: &ListKey, id: i64) -> Query {
    let select = "SELECT items.id, items.title, items.completed, items.position, items.due \
         FROM items JOIN lists ON lists.id = items.list_id \
         WHERE lists.username = $1 AND lists.name = $2 AND items.id = $3";
    query(select, key).bind(id)
}

/// Checks the state of an item whose list is locked.
async fn check_item(
    write: &mut Transaction<'static, Any>,
    key: &ListKey,
    id: i64,
    expected: &IfMatch,
) -> Result<(), Error> {
    if !expected.is_given() {
        return Ok(());
    }
    let row = select_item(key, id).fetch_optional(&mut **write).await?;
    let item = item(&row.ok_or_else(|| key.missing_item(id))?)?;
    Ok(expected.check(&Tag::of(&item))?)
}

/// The items of a list as they will be committed: a read after the commit may see another write,
/// or fail although the write succeeded.
async fn read_items(
    write: &mut Transaction<'static, Any>,
    key: &ListKey,
) -> Result<Vec<Item>, Error> {
    items(key, select_items(key, FIRST, MAX_ITEMS).fetch_all(&mut **write).await?)
}

/// The items in the rows of [`select_items`].
fn items(key: &ListKey, rows: Vec<AnyRow>) -> Result<Vec<Item>, Error> {
    let Some(first) = rows.first() else { return Err(key.missing()) };
    if first.try_get::<Option<i64>, _>(0)?.is_none() {
        return Ok(Vec::new());
    }
    Ok(rows.iter().map(item).collect::<Result<_, _>>()?)
}

/// The place of a row's item; behind the last one for a list without items.
fn item_cursor(row: &AnyRow, position: usize) -> Result<ItemCursor, sqlx::Error> {
    let place = (row.try_get(position)?, row.try_get(position + 1)?);
    Ok(Option::zip(place.0, place.1).unwrap_or(LAST))
}

fn item(row: &AnyRow) -> Result<Item, sqlx::Error> {
    Ok(Item {
        id: row.try_get("id")?,
        title: row.try_get("title")?,
        completed: row.try_get::<i64, _>("completed")? != 0,
        order: row.try_get("position")?,
        due: row.try_get("due")?,
    })
}
