//! A layered layout: columns by layer, dependents on the left, each column ordered by the
//! barycentre of its neighbours.
//!
//! A line over several columns runs in a lane: one narrow cell in each column between. Lines
//! of one box share its lane, so the number of cells grows with boxes, not with lines. The
//! layout knows sizes and ends, no names; the same input always gives the same picture.

/// Space between two columns, in pixels.
const COLUMN_GAP: f64 = 116.0;
/// Space between two cells of a column, in pixels.
const ROW_GAP: f64 = 22.0;
/// Height of a lane, in pixels.
const LANE_HEIGHT: f64 = 14.0;
/// How often the columns are ordered.
const SWEEPS: usize = 8;

/// A point in pixels, from the top left.
pub(super) type Point = (f64, f64);

/// A box before it has a place; width and height in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Column, counted from the left.
    pub(super) column: usize,
}

/// A box with its place, in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// All boxes and lines with their places; the top left corner is the origin.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// One for each box.
    pub(super) areas: Vec<Area>,
    /// One for each line: pairs of points, each pair the ends of a curve between two columns.
    pub(super) curves: Vec<Vec<[Point; 2]>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Places the boxes and draws the lines, each given by the indices of the boxes at its ends.
pub(super) fn place(boxes: &[Size], lines: &[(usize, usize)]) -> Layout {
    let mut grid = Grid::new(boxes, lines);
    grid.order();
    grid.align();
    grid.layout(boxes, lines)
}

/// A box, or a lane where it passes a column.
struct Cell {
    column: usize,
    height: f64,
    /// Linked cells of the previous and of the next column.
    near: [Vec<usize>; 2],
    /// Height of its middle, in pixels.
    middle: f64,
}

/// The lane on one side of a box: consecutive cells, one for each column.
#[derive(Clone, Debug, Default)]
struct Lane {
    columns: std::ops::Range<usize>,
    first_cell: usize,
}

struct Grid {
    cells: Vec<Cell>,
    /// The cells of each column from top to bottom.
    columns: Vec<Vec<usize>>,
    /// The cells of each line from left to right; one cell if both ends share a column.
    chains: Vec<Vec<usize>>,
}

impl Grid {
    fn new(boxes: &[Size], lines: &[(usize, usize)]) -> Self {
        let cell = |column, height| Cell { column, height, near: Default::default(), middle: 0.0 };
        let mut cells: Vec<Cell> = boxes.iter().map(|b| cell(b.column, b.height)).collect();
        let mut degrees = vec![0_usize; boxes.len()];
        lines.iter().for_each(|&(from, to)| [from, to].iter().for_each(|&end| degrees[end] += 1));
        // Each line as its left end, its right end, and the end whose lane it uses.
        let ends: Vec<(usize, usize, usize)> = lines
            .iter()
            .map(|&(from, to)| {
                let is_forward = boxes[from].column <= boxes[to].column;
                let (left, right) = if is_forward { (from, to) } else { (to, from) };
                (left, right, if degrees[left] >= degrees[right] { left } else { right })
            })
            .collect();
        // The lanes to the left and to the right of each box, as long as their longest line.
        let mut lanes: Vec<[Lane; 2]> = vec![Default::default(); boxes.len()];
        for &(left, right, owner) in &ends {
            let between = boxes[left].column + 1..boxes[right].column;
            let lane = &mut lanes[owner][usize::from(owner == left)];
            if between.len() > lane.columns.len() {
                lane.columns = between;
            }
        }
        for lane in lanes.iter_mut().flatten() {
            lane.first_cell = cells.len();
            cells.extend(lane.columns.clone().map(|column| cell(column, LANE_HEIGHT)));
        }
        let mut links = std::collections::BTreeSet::new();
        let mut chains = Vec::new();
        for (left, right, owner) in ends {
            let lane = &lanes[owner][usize::from(owner == left)];
            let between = boxes[left].column + 1..boxes[right].column;
            let in_lane = between.map(|column| lane.first_cell + column - lane.columns.start);
            let mut chain = vec![left];
            chain.extend(in_lane);
            if boxes[left].column < boxes[right].column {
                chain.push(right);
            }
            links.extend(chain.first_chunk::<2>().into_iter().chain(chain.last_chunk()).copied());
            chains.push(chain);
        }
        let inside = lanes.iter().flatten().flat_map(|lane| {
            (lane.first_cell + 1..lane.first_cell + lane.columns.len()).map(|cell| [cell - 1, cell])
        });
        links.extend(inside);
        for [left, right] in links {
            cells[left].near[1].push(right);
            cells[right].near[0].push(left);
        }
        let mut columns = vec![Vec::new(); cells.iter().map(|c| c.column + 1).max().unwrap_or(0)];
        for (index, cell) in cells.iter().enumerate() {
            columns[cell.column].push(index);
        }
        Self { cells, columns, chains }
    }

    /// Orders each column by the mean place of its neighbours in the previous column, then in
    /// the next column, in turn.
    fn order(&mut self) {
        let mut places = vec![0.0; self.cells.len()];
        for sweep in 0..SWEEPS {
            let side = sweep % 2;
            for column in sweep_over(self.columns.len(), side) {
                let mean = |cell: &usize| mean(&self.cells[*cell].near[side], &places);
                let mut means: Vec<(f64, usize)> = self.columns[column]
                    .iter()
                    .map(|cell| (mean(cell).unwrap_or(places[*cell]), *cell))
                    .collect();
                means.sort_by(|a, b| a.0.total_cmp(&b.0));
                for (place, (_, cell)) in means.into_iter().enumerate() {
                    self.columns[column][place] = cell;
                    places[cell] = place as f64;
                }
            }
        }
    }

    /// Stacks the cells of each column, all columns around one horizontal axis.
    fn align(&mut self) {
        let mut heights = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let mut bottom = 0.0;
            for &cell in column {
                let cell = &mut self.cells[cell];
                cell.middle = bottom + cell.height / 2.0;
                bottom += cell.height + ROW_GAP;
            }
            heights.push(bottom);
        }
        let tallest = heights.iter().copied().fold(0.0, f64::max);
        for cell in &mut self.cells {
            cell.middle += (tallest - heights[cell.column]) / 2.0;
        }
    }

    fn layout(&self, boxes: &[Size], lines: &[(usize, usize)]) -> Layout {
        let mut widths = vec![0.0_f64; self.columns.len()];
        for size in boxes {
            widths[size.column] = widths[size.column].max(size.width);
        }
        let mut lefts = Vec::with_capacity(widths.len());
        let mut width = 0.0;
        for column in &widths {
            lefts.push(width);
            width += column + COLUMN_GAP;
        }
        let areas: Vec<Area> = boxes
            .iter()
            .zip(&self.cells)
            .map(|(size, cell)| Area {
                left: lefts[size.column] + (widths[size.column] - size.width) / 2.0,
                top: cell.middle - size.height / 2.0,
                width: size.width,
                height: size.height,
            })
            .collect();
        let curve = |(chain, &(from, to)): (&Vec<usize>, &(usize, usize))| {
            if chain.len() == 1 {
                return vec![beside(&areas[from], &areas[to], from < to)];
            }
            let point = |cell: usize, other: usize, side: usize| match areas.get(cell) {
                Some(area) => self.port(cell, other, side, area),
                None => {
                    let column = self.cells[cell].column;
                    (lefts[column] + widths[column] * side as f64, self.cells[cell].middle)
                }
            };
            let mut curve: Vec<[Point; 2]> = Vec::new();
            for link in chain.windows(2) {
                let [start, end] = [point(link[0], link[1], 1), point(link[1], link[0], 0)];
                match curve.last_mut() {
                    // A lane at one height is one stroke.
                    Some([first, last])
                        if [first.1, last.1, start.1].iter().all(|y| (y - end.1).abs() < 0.5) =>
                    {
                        *last = end;
                    }
                    _ => curve.push([start, end]),
                }
            }
            if chain[0] != from {
                curve.reverse();
                curve.iter_mut().for_each(|pair| pair.reverse());
            }
            curve
        };
        let curves = self.chains.iter().zip(lines).map(curve).collect();
        let bottoms = self.cells.iter().map(|cell| cell.middle + cell.height / 2.0);
        let (width, height) = ((width - COLUMN_GAP).max(0.0), bottoms.fold(0.0, f64::max));
        Layout { areas, curves, width, height }
    }

    /// Where a box is linked with a neighbour: the links of a side are spread over its height
    /// in the order of the neighbours.
    fn port(&self, cell: usize, other: usize, side: usize, area: &Area) -> Point {
        let near = &self.cells[cell].near[side];
        let is_above = |&&one: &&usize| self.cells[one].middle < self.cells[other].middle;
        let share = (near.iter().filter(is_above).count() + 1) as f64 / (near.len() + 1) as f64;
        (area.left + area.width * side as f64, area.top + area.height * share)
    }
}

/// The columns, from the left if the previous column (side 0) decides, else from the right.
fn sweep_over(columns: usize, side: usize) -> impl Iterator<Item = usize> {
    (0..columns).map(move |step| if side == 0 { step } else { columns - 1 - step })
}

fn mean(cells: &[usize], values: &[f64]) -> Option<f64> {
    let sum = cells.iter().map(|&cell| values[cell]).sum::<f64>();
    (!cells.is_empty()).then(|| sum / cells.len() as f64)
}

/// A line between two boxes of one column: on their right, from the lower part of one to the
/// upper part of the other. A line there and a line back have different ends.
fn beside(from: &Area, to: &Area, is_first: bool) -> [Point; 2] {
    let inset = if is_first { 0.12 } else { 0.3 };
    let end = |area: &Area, other: &Area| {
        let share = if area.top < other.top { 1.0 - inset } else { inset };
        (area.left + area.width, area.top + area.height * share)
    };
    [end(from, to), end(to, from)]
}
