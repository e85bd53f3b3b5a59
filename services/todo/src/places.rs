//! Moves an item to a place: the positions that change so that the order is right, and the
//! statements that change them.
//!
//! Positions are integers that callers may choose, so neighbours can have the same one.

use kit::MAX_INTEGER;
use sqlx::{Any, Row as _, Transaction};

use crate::error::Error;
use crate::store::Item;

/// Moves an item to a place, and returns it. The list is locked, so the other items stay as read.
pub(crate) async fn put(
    write: &mut Transaction<'static, Any>,
    list: i64,
    item: Item,
    place: Option<i64>,
) -> Result<Item, Error> {
    let Some(place) = place.and_then(|place| usize::try_from(place).ok()) else { return Ok(item) };
    let select = "SELECT id, position FROM items WHERE list_id = $1 ORDER BY position, id";
    let rows = sqlx::query(select).bind(list).fetch_all(&mut **write).await?;
    let items = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let items = items.collect::<Result<Vec<(i64, i64)>, sqlx::Error>>()?;
    let mut order = item.order;
    for (id, position) in changed(&items, item.id, place) {
        let update = sqlx::query("UPDATE items SET position = $2 WHERE id = $1");
        update.bind(id).bind(position).execute(&mut **write).await?;
        if id == item.id {
            order = position;
        }
    }
    Ok(Item { order, ..item })
}

/// The new positions, by id, after the item `moved` was put at the place `place`, where 1 is the
/// first. `items` are the ids and positions in order. As few positions as possible change.
fn changed(items: &[(i64, i64)], moved: i64, place: usize) -> Vec<(i64, i64)> {
    let mut order: Vec<_> = items.iter().copied().filter(|(id, _)| *id != moved).collect();
    let index = place.saturating_sub(1).min(order.len());
    let Some(&old) = items.iter().find(|(id, _)| *id == moved) else { return Vec::new() };
    order.insert(index, old);
    if order == items {
        return Vec::new();
    }
    pushed(&order, index).unwrap_or_else(|| {
        // No number is left behind the moved item.
        order.iter().zip(1_i64..).map(|((id, _), position)| (*id, position)).collect()
    })
}

/// Puts the item at `index` right behind its predecessor, and pushes the items behind it as far as
/// needed; `None` if a position would be too large.
fn pushed(order: &[(i64, i64)], index: usize) -> Option<Vec<(i64, i64)>> {
    let mut changed = Vec::new();
    let mut last = match index.checked_sub(1) {
        Some(before) => order[before].1,
        None => order.get(1)?.1.checked_sub(2).filter(|position| *position >= -MAX_INTEGER)?,
    };
    for (offset, (id, position)) in order[index..].iter().enumerate() {
        if offset > 0 && *position > last {
            break;
        }
        last = last.checked_add(1).filter(|position| *position <= MAX_INTEGER)?;
        changed.push((*id, last));
    }
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids in order after the changes, as the database sorts them.
    fn after(items: &[(i64, i64)], moved: i64, place: usize) -> Vec<i64> {
        let changes = changed(items, moved, place);
        let position = |(id, position): &(i64, i64)| {
            changes.iter().find(|(changed, _)| changed == id).map_or(*position, |change| change.1)
        };
        let mut sorted: Vec<_> = items.iter().map(|item| (position(item), item.0)).collect();
        sorted.sort_unstable();
        sorted.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn every_move_gives_the_wanted_order() {
        let largest = MAX_INTEGER;
        for items in [
            vec![(1, 1), (2, 2), (3, 3), (4, 4)],
            vec![(1, 0), (2, 0), (3, 0), (4, 0)],
            vec![(4, -5), (3, 10), (2, 10), (1, 11)],
            vec![(1, largest - 1), (2, largest), (3, largest), (4, largest)],
            vec![(1, -largest), (2, -largest), (3, -largest), (4, largest)],
        ] {
            let mut items: Vec<(i64, i64)> = items;
            items.sort_unstable_by_key(|(id, position)| (*position, *id));
            let ids: Vec<_> = items.iter().map(|item| item.0).collect();
            for moved in &ids {
                for place in 1..=5 {
                    let mut wanted: Vec<_> = ids.iter().copied().filter(|id| id != moved).collect();
                    wanted.insert((place - 1).min(wanted.len()), *moved);
                    assert_eq!(after(&items, *moved, place), wanted, "{items:?} {moved} {place}");
                }
            }
        }
    }

    #[test]
    fn move_to_the_own_place_changes_nothing() {
        assert_eq!(changed(&[(1, 1), (2, 5)], 2, 2), []);
        assert_eq!(changed(&[(1, 1), (2, 5)], 3, 1), []);
    }

    #[test]
    fn move_into_a_gap_changes_one_position() {
        assert_eq!(changed(&[(1, 1), (2, 5), (3, 9)], 3, 2), [(3, 2)]);
    }
}
