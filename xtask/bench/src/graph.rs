//! Shapes of dependency graphs.

/// The dependencies of each service, by number. A service depends only on lower numbers.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub(crate) shape: &'static str,
    pub(crate) dependencies: Vec<Vec<usize>>,
}

impl Graph {
    /// Each service depends on the one before it.
    pub(crate) fn chain(count: usize) -> Self {
        let dependencies = (0..count).map(|number| number.checked_sub(1).into_iter().collect());
        Self { shape: "chain", dependencies: dependencies.collect() }
    }

    /// One service, on which all others depend.
    pub(crate) fn wide(count: usize) -> Self {
        let on = |number| if number == 0 { Vec::new() } else { vec![0] };
        Self { shape: "wide", dependencies: (0..count).map(on).collect() }
    }

    /// Layers of `width` services; each depends on two of the layer before.
    pub(crate) fn layered(layers: usize, width: usize) -> Self {
        let on = |number: usize| {
            let (layer, place) = (number / width, number % width);
            match layer.checked_sub(1) {
                None => Vec::new(),
                Some(before) if width == 1 => vec![before],
                Some(before) => vec![before * width + place, before * width + (place + 1) % width],
            }
        };
        Self { shape: "layered", dependencies: (0..layers * width).map(on).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.dependencies.len()
    }

    /// The graph as `ideal` reads it: a line of numbers for each service.
    pub(crate) fn lines(&self) -> String {
        let line = |on: &Vec<usize>| {
            let numbers: Vec<_> = on.iter().map(ToString::to_string).collect();
            numbers.join(" ") + "\n"
        };
        self.dependencies.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_depend_on_the_layer_before() {
        let graph = Graph::layered(3, 2);
        assert_eq!(graph.lines(), "\n\n0 1\n1 0\n2 3\n3 2\n");
        assert_eq!(Graph::chain(3).lines(), "\n0\n1\n");
        assert_eq!(Graph::wide(3).lines(), "\n0\n0\n");
    }
}
