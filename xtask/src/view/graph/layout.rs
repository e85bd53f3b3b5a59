//! Where boxes and lines of a picture go: columns by layer, dependents on the left,
//! few crossings, long lines around the boxes between their ends.
//!
//! It knows sizes and ends, no names; the same input always gives the same picture.

/// The space between two columns, in pixels.
const COLUMN_GAP: f64 = 116.0;
/// The space between two boxes of a column, in pixels.
const ROW_GAP: f64 = 22.0;
/// The height that a line passing through a column takes, in pixels.
const BEND_HEIGHT: f64 = 14.0;
/// How often columns are sorted and moved.
const SWEEPS: usize = 12;

/// A point in pixels, from the top left.
pub(super) type Point = (f64, f64);

/// What is known of a box before it has a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Its column, counted from the left.
    pub(super) column: usize,
}

/// A box with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Everything with its place; the top left corner is the origin.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// One a box.
    pub(super) areas: Vec<Area>,
    /// One a line: points in pairs, each pair the ends of a curve between two columns.
    pub(super) curves: Vec<Vec<[Point; 2]>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Places boxes, and lines between them given by the places of their ends.
pub(super) fn place(boxes: &[Size], lines: &[(usize, usize)]) -> Layout {
    let mut grid = Grid::new(boxes, lines);
    grid.sort();
    grid.settle();
    grid.layout(boxes, lines)
}

/// Something that takes space in a column: a box, or a line that passes.
struct Cell {
    column: usize,
    height: f64,
    /// Cells of the column before and of the next one that lines lead to.
    before: Vec<usize>,
    after: Vec<usize>,
    /// The place of its middle, from the top.
    middle: f64,
}

struct Grid {
    cells: Vec<Cell>,
    /// The cells of each column from top to bottom.
    columns: Vec<Vec<usize>>,
    /// The cells of each line from left to right; one cell for a line in one column.
    chains: Vec<Vec<usize>>,
}

/// How many lines end at each place of a column, so that those below a place are counted
/// without looking at each (a Fenwick tree).
struct Ends {
    counts: Vec<usize>,
    all: usize,
}

impl Ends {
    fn new(places: usize) -> Self {
        Self { counts: vec![0; places + 1], all: 0 }
    }

    fn add(&mut self, place: usize) {
        self.all += 1;
        let mut at = place + 1;
        while at < self.counts.len() {
            self.counts[at] += 1;
            at += at & at.wrapping_neg();
        }
    }

    /// Those that end below the place.
    fn below(&self, place: usize) -> usize {
        let mut not_below = 0;
        let mut at = place + 1;
        while at > 0 {
            not_below += self.counts[at];
            at -= at & at.wrapping_neg();
        }
        self.all - not_below
    }
}

impl Grid {
    fn new(boxes: &[Size], lines: &[(usize, usize)]) -> Self {
        let cell = |column, height| Cell {
            column,
            height,
            before: Vec::new(),
            after: Vec::new(),
            middle: 0.0,
        };
        let mut cells: Vec<Cell> = boxes.iter().map(|b| cell(b.column, b.height)).collect();
        let mut chains = Vec::new();
        for &(from, to) in lines {
            let (left, right) =
                if boxes[from].column <= boxes[to].column { (from, to) } else { (to, from) };
            let mut chain = vec![left];
            for column in boxes[left].column + 1..boxes[right].column {
                chain.push(cells.len());
                cells.push(cell(column, BEND_HEIGHT));
            }
            if boxes[left].column < boxes[right].column {
                chain.push(right);
            }
            for pair in chain.windows(2) {
                cells[pair[0]].after.push(pair[1]);
                cells[pair[1]].before.push(pair[0]);
            }
            chains.push(chain);
        }
        let mut columns = vec![Vec::new(); cells.iter().map(|c| c.column + 1).max().unwrap_or(0)];
        for (place, cell) in cells.iter().enumerate() {
            columns[cell.column].push(place);
        }
        Self { cells, columns, chains }
    }

    /// Orders each column by where its neighbours are, back and forth, and keeps the
    /// order with the fewest crossings.
    fn sort(&mut self) {
        let mut places = self.places();
        let mut best = (self.crossings(&places), self.columns.clone());
        for sweep in 0..SWEEPS {
            let forward = sweep % 2 == 0;
            for step in 0..self.columns.len() {
                let column = if forward { step } else { self.columns.len() - 1 - step };
                let mean = |&cell: &usize| {
                    let cell_at = &self.cells[cell];
                    let near = if forward { &cell_at.before } else { &cell_at.after };
                    if near.is_empty() {
                        return places[cell] as f64;
                    }
                    near.iter().map(|&other| places[other] as f64).sum::<f64>() / near.len() as f64
                };
                let mut sorted: Vec<(f64, usize)> =
                    self.columns[column].iter().map(|cell| (mean(cell), *cell)).collect();
                sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
                for (place, (_, cell)) in sorted.into_iter().enumerate() {
                    self.columns[column][place] = cell;
                    places[cell] = place;
                }
            }
            let crossings = self.crossings(&places);
            if crossings < best.0 {
                best = (crossings, self.columns.clone());
            }
        }
        self.columns = best.1;
    }

    /// The place of each cell in its column.
    fn places(&self) -> Vec<usize> {
        let mut places = vec![0; self.cells.len()];
        for column in &self.columns {
            for (place, &cell) in column.iter().enumerate() {
                places[cell] = place;
            }
        }
        places
    }

    /// How many pairs of lines cross between two columns: of two lines one begins above the
    /// other and ends below it.
    fn crossings(&self, places: &[usize]) -> usize {
        let mut crossings = 0;
        for (column, cells) in self.columns.iter().enumerate() {
            let next = self.columns.get(column + 1).map_or(0, Vec::len);
            let mut ends = Ends::new(next);
            for &cell in cells {
                let after = || self.cells[cell].after.iter().map(|&to| places[to]);
                // Those that begin at one place do not cross each other.
                crossings += after().map(|to| ends.below(to)).sum::<usize>();
                after().for_each(|to| ends.add(to));
            }
        }
        crossings
    }

    /// Moves cells up and down towards their neighbours, order and gaps kept.
    fn settle(&mut self) {
        for sweep in 0..=SWEEPS {
            for step in 0..self.columns.len() {
                let column = if sweep % 2 == 0 { step } else { self.columns.len() - 1 - step };
                let wanted: Vec<f64> = self.columns[column]
                    .iter()
                    .map(|&cell| {
                        let cell = &self.cells[cell];
                        let near: Vec<f64> = cell
                            .before
                            .iter()
                            .chain(&cell.after)
                            .map(|&other| self.cells[other].middle)
                            .collect();
                        if near.is_empty() || sweep == 0 {
                            return cell.middle;
                        }
                        near.iter().sum::<f64>() / near.len() as f64
                    })
                    .collect();
                self.spread(column, &wanted);
            }
        }
    }

    /// Gives each cell of a column the place nearest to the wanted one, all in order
    /// and none too near to another: neighbours that want the same place share the
    /// mean of what they want.
    fn spread(&mut self, column: usize, wanted: &[f64]) {
        let mut offsets = Vec::with_capacity(wanted.len());
        let mut offset = 0.0;
        for (index, &cell) in self.columns[column].iter().enumerate() {
            if index > 0 {
                let above = self.cells[self.columns[column][index - 1]].height;
                offset += f64::midpoint(above, self.cells[cell].height) + ROW_GAP;
            }
            offsets.push(offset);
        }
        // Groups of neighbours: the sum of what they want, and how many they are.
        let mut groups: Vec<(f64, f64)> = Vec::new();
        for (want, offset) in wanted.iter().zip(&offsets) {
            groups.push((want - offset, 1.0));
            while let [.., (a, n), (b, m)] = groups[..]
                && a / n > b / m
            {
                groups.truncate(groups.len() - 2);
                groups.push((a + b, n + m));
            }
        }
        let means = groups
            .iter()
            .flat_map(|&(sum, count)| std::iter::repeat_n(sum / count, count as usize));
        for ((mean, offset), &cell) in means.zip(offsets).zip(&self.columns[column]) {
            self.cells[cell].middle = mean + offset;
        }
    }

    fn layout(&self, boxes: &[Size], lines: &[(usize, usize)]) -> Layout {
        let mut widths = vec![0.0_f64; self.columns.len()];
        for size in boxes {
            widths[size.column] = widths[size.column].max(size.width);
        }
        let lefts: Vec<f64> = widths
            .iter()
            .scan(0.0, |next, width| {
                let left = *next;
                *next += width + COLUMN_GAP;
                Some(left)
            })
            .collect();
        let edge = |cell: &Cell, side: f64| cell.middle + side * cell.height / 2.0;
        let top = self.cells.iter().map(|cell| edge(cell, -1.0)).fold(f64::MAX, f64::min);
        let bottom = self.cells.iter().map(|cell| edge(cell, 1.0)).fold(f64::MIN, f64::max);

        let areas: Vec<Area> = boxes
            .iter()
            .zip(&self.cells)
            .map(|(size, cell)| Area {
                left: lefts[size.column] + (widths[size.column] - size.width) / 2.0,
                top: edge(cell, -1.0) - top,
                width: size.width,
                height: size.height,
            })
            .collect();
        let ports = self.ports(boxes.len());
        let at = |line: usize, link: usize, right: bool| -> Point {
            let cell = self.chains[line][link];
            let middle = self.cells[cell].middle - top;
            match areas.get(cell) {
                Some(area) => {
                    let share = ports[line][usize::from(right)];
                    let x = if right { area.left + area.width } else { area.left };
                    (x, area.top + area.height * share)
                }
                None => {
                    let column = self.cells[cell].column;
                    (lefts[column] + if right { widths[column] } else { 0.0 }, middle)
                }
            }
        };
        let curves = lines
            .iter()
            .enumerate()
            .map(|(line, &(from, to))| {
                let chain = &self.chains[line];
                if chain.len() == 1 {
                    // Both ends in one column: around on the right, from the lower part
                    // of one to the upper part of the other; two lines there and back
                    // have different ends.
                    let inset = if from < to { 0.12 } else { 0.3 };
                    let side = |area: &Area, other: &Area| {
                        let share = if area.top < other.top { 1.0 - inset } else { inset };
                        (area.left + area.width, area.top + area.height * share)
                    };
                    let (from, to) = (&areas[from], &areas[to]);
                    return vec![[side(from, to), side(to, from)]];
                }
                let mut curve: Vec<[Point; 2]> = (0..chain.len() - 1)
                    .map(|link| [at(line, link, true), at(line, link + 1, false)])
                    .collect();
                if chain[0] != from {
                    curve.reverse();
                    curve.iter_mut().for_each(|pair| pair.reverse());
                }
                curve
            })
            .collect();
        let width = lefts.last().copied().unwrap_or(0.0) + widths.last().copied().unwrap_or(0.0);
        Layout { areas, curves, width, height: if boxes.is_empty() { 0.0 } else { bottom - top } }
    }

    /// For each line the heights at which it leaves its left box and enters its right
    /// one, as shares of the boxes' heights: in order of where the lines come from.
    fn ports(&self, boxes: usize) -> Vec<[f64; 2]> {
        // For each box where its lines go next: those that enter it, and those that leave it.
        let mut ends: Vec<[Vec<(f64, usize)>; 2]> = vec![Default::default(); boxes];
        for (line, chain) in self.chains.iter().enumerate() {
            if let [first, second, ..] = chain[..]
                && let [.., next, last] = chain[..]
            {
                ends[last][0].push((self.cells[next].middle, line));
                ends[first][1].push((self.cells[second].middle, line));
            }
        }
        let mut ports = vec![[0.5; 2]; self.chains.len()];
        for (side, mut ends) in ends.into_iter().flat_map(|ends| ends.into_iter().enumerate()) {
            ends.sort_by(|a, b| a.0.total_cmp(&b.0));
            let count = ends.len() as f64;
            for (place, (_, line)) in ends.into_iter().enumerate() {
                ports[line][side] = (place as f64 + 1.0) / (count + 1.0);
            }
        }
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_those_of_every_pair_of_lines() {
        for seed in 1..40_usize {
            let size = |index: usize| Size { width: 1.0, height: 1.0, column: index % 3 };
            let boxes: Vec<Size> = (0..24).map(size).collect();
            let lines: Vec<(usize, usize)> =
                (0..40).map(|line| ((line * seed) % 24, (line * line + 7 * seed) % 24)).collect();
            let grid = Grid::new(&boxes, &lines);
            let places = grid.places();
            let links: Vec<_> = (grid.cells.iter().enumerate())
                .flat_map(|(from, cell)| cell.after.iter().map(move |to| (from, *to)))
                .map(|(from, to)| (grid.cells[from].column, places[from], places[to]))
                .collect();
            let crosses = |a: &(usize, usize, usize), b: &(usize, usize, usize)| {
                a.0 == b.0 && a.1 < b.1 && a.2 > b.2
            };
            let pairs = links.iter().flat_map(|a| links.iter().filter(move |b| crosses(a, b)));
            assert_eq!(grid.crossings(&places), pairs.count(), "seed {seed}");
        }
    }
}
