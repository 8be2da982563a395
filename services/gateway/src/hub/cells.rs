//! Who is to be woken: a list in which places are kept and used again, at eight bytes for each.

use super::SessionCell;
use std::sync::Arc;

/// Sessions by small numbers.
#[derive(Default)]
pub(super) struct Cells {
    places: Vec<Option<Arc<SessionCell>>>,
    free: Vec<u32>,
}

impl Cells {
    /// Gives it a number that no other has now.
    pub(super) fn insert(&mut self, cell: Arc<SessionCell>) -> u32 {
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = Some(cell);
            return number;
        }
        if self.places.len() == self.places.capacity() {
            // By a quarter: of a room's followers there may be many, in many rooms.
            self.places.reserve_exact((self.places.len() / 4).max(4));
        }
        self.places.push(Some(cell));
        (self.places.len() - 1) as u32
    }

    /// Takes it out.
    pub(super) fn remove(&mut self, number: u32) {
        if self.places.get_mut(number as usize).and_then(Option::take).is_some() {
            self.free.push(number);
        }
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<SessionCell>> {
        self.places.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_an_empty_list_has_no_memory() {
        let mut cells = Cells::default();
        let numbers: Vec<u32> = (0..100).map(|_| cells.insert(Arc::default())).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        cells.remove(7);
        cells.remove(7);
        assert_eq!((cells.iter().count(), cells.insert(Arc::default()), cells.insert(Arc::default())), (99, 7, 100));
        (0..=100).for_each(|number| cells.remove(number));
        assert!(cells.is_empty() && cells.places.capacity() == 0);
    }
}
