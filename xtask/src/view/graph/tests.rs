//! Small graphs in every format, compared exactly, with names that need escapes.

use xtask_core::plan::{Dependency, Plan, Port, Program, Service, Text, Use};
use xtask_core::terms::{Condition, Kind, Place};

use super::layout::{Size, place};
use super::{Format, draw};
use crate::sample::{plan_of, planned};

fn declared(line: u32) -> Place {
    Place { file: "crates/x/Cargo.toml".into(), line }
}

fn service(name: &str) -> Service {
    let (package_id, package, binary) = ("p".into(), "p".into(), "p".into());
    let program = Program::Artifact { package_id, package, binary };
    Service { declared: declared(1), program, ..planned(name) }
}

fn at(mut service: Service, url: &str) -> Service {
    service.url = Some(Text::from(url));
    service
}

fn job(mut service: Service) -> Service {
    service.kind = Kind::Job;
    service
}

fn on(mut service: Service, name: &str, condition: Condition) -> Service {
    let edge = Dependency { on: name.into(), condition, restart: false, declared: declared(7) };
    service.depends_on.push(edge);
    service
}

fn uses(mut service: Service, name: &str) -> Service {
    service.uses.push(Use { of: name.into(), declared: declared(8), relaxed: false });
    service
}

/// Five services, a job, each kind of edge, and a service that two wait for.
fn shop() -> Plan {
    use Condition::{Ready, Started, Succeeded};
    let mut stock = at(service("stock"), "http://127.0.0.1:4001");
    stock = uses(on(stock, "schema", Succeeded), "front");
    let prices = on(on(service("prices"), "stock", Ready), "bus", Started);
    let mut front = at(service("front"), "http://[::1]:4000");
    front = on(on(front, "stock", Ready), "prices", Ready);
    front.depends_on[1].restart = true;
    let mut bus = service("bus");
    bus.program = Program::External;
    plan_of(vec![bus, job(service("schema")), stock, prices, front])
}

/// Names and addresses that need escapes in every format.
fn strange() -> Plan {
    let a = at(service("a\"b\\c"), "http://x/?q=<1>&r=\"2\"#3");
    plan_of(vec![a, on(service("end;`]"), "a\"b\\c", Condition::Ready)])
}

#[test]
fn text_draws_a_tree_with_a_legend() {
    assert_eq!(
        draw(&shop(), Format::Text),
        "\
front  http://[::1]:4000
├── stock  http://127.0.0.1:4001
│   ├── schema (job, succeeded)
│   └╌╌ front
└── prices (ready, restart)
    ├── stock (*)
    └── bus (started)

dashed: uses the address, waits for nothing
(*): its own dependencies are drawn above
"
    );
    assert_eq!(draw(&plan_of(vec![service("b"), service("a")]), Format::Text), "a\nb\n");
    assert_eq!(draw(&plan_of(Vec::new()), Format::Text), "");
    assert_eq!(draw(&plan_of(vec![service("a\u{1b}[2J")]), Format::Text), "a\\u{1b}[2J\n");
}

#[test]
fn text_draws_members_of_a_cycle_once() {
    let pair = plan_of(vec![uses(service("a"), "b"), on(service("b"), "a", Condition::Ready)]);
    assert_eq!(
        draw(&pair, Format::Text),
        "b\n└── a\n    └╌╌ b\n\ndashed: uses the address, waits for nothing\n"
    );
}

#[test]
fn text_shows_fixed_ports_and_marks_free_ones() {
    let mut fixed = service("fixed");
    let number = |number| Port {
        name: "http".into(),
        host: "127.0.0.1".into(),
        number,
        declared: declared(1),
    };
    let mut url = Text::from("http://h:");
    url.push_port("fixed".into(), 0);
    fixed.url = Some(url);
    fixed.ports = vec![number(Some(4000))];
    let drawn = |service: &Service| draw(&plan_of(vec![service.clone()]), Format::Text);
    assert_eq!(drawn(&fixed), "fixed  http://h:4000\n");
    fixed.ports = vec![number(None)];
    assert_eq!(drawn(&fixed), "fixed  http://h:?\n");
}

#[test]
fn mermaid_numbers_nodes_and_escapes_names() {
    assert_eq!(
        draw(&shop(), Format::Mermaid),
        "\
flowchart LR
    n0[\"bus\"]
    n1([\"schema<br/>job\"])
    n2[\"stock<br/>http://127.0.0.1:4001\"]
    n3[\"prices\"]
    n4[\"front<br/>http://#91;::1#93;:4000\"]
    n2 -->|succeeded| n1
    n2 -.->|uses| n4
    n3 -->|ready| n2
    n3 -->|started| n0
    n4 -->|ready| n2
    n4 -->|ready, restart| n3
"
    );
    assert_eq!(
        draw(&strange(), Format::Mermaid),
        "\
flowchart LR
    n0[\"a#34;b#92;c<br/>http://x/?q#61;#60;1#62;#38;r#61;#34;2#34;#35;3\"]
    n1[\"end#59;#96;#93;\"]
    n1 -->|ready| n0
"
    );
}

#[test]
fn dot_quotes_names_and_dashes_uses() {
    assert_eq!(
        draw(&shop(), Format::Dot),
        "\
digraph \"dev\" {
    rankdir=LR;
    \"bus\" [label=\"bus\", shape=box];
    \"schema\" [label=\"schema\\njob\", shape=ellipse];
    \"stock\" [label=\"stock\\nhttp://127.0.0.1:4001\", shape=box];
    \"prices\" [label=\"prices\", shape=box];
    \"front\" [label=\"front\\nhttp://[::1]:4000\", shape=box];
    \"stock\" -> \"schema\" [label=\"succeeded\"];
    \"stock\" -> \"front\" [label=\"uses\", style=dashed, constraint=false];
    \"prices\" -> \"stock\" [label=\"ready\"];
    \"prices\" -> \"bus\" [label=\"started\"];
    \"front\" -> \"stock\" [label=\"ready\"];
    \"front\" -> \"prices\" [label=\"ready, restart\"];
}
"
    );
    assert!(draw(&strange(), Format::Dot).contains("    \"end;`]\" -> \"a\\\"b\\\\c\" ["));
}

#[test]
fn json_has_layers_and_every_edge() {
    let drawn: serde_json::Value = serde_json::from_str(&draw(&shop(), Format::Json)).unwrap();
    let services = drawn["services"].as_array().unwrap();
    let layers: Vec<_> = services.iter().map(|s| s["layer"].as_u64().unwrap()).collect();
    assert_eq!(layers, [0, 0, 1, 2, 3]);
    assert_eq!(services[2]["url"], "http://127.0.0.1:4001");
    assert_eq!(services[1]["kind"], "job");
    assert_eq!(
        drawn["edges"][1],
        serde_json::json!({
            "from": "stock", "to": "front", "kind": "uses", "condition": null,
            "restart": false, "relaxed": false,
            "declared": { "file": "crates/x/Cargo.toml", "line": 8 },
        })
    );
    assert_eq!(drawn["edges"][5]["condition"], "ready");
    assert_eq!(drawn["edges"][5]["restart"], true);
    assert_eq!(drawn["version"], 2);
}

#[test]
fn svg_draws_a_small_graph() {
    let pair = plan_of(vec![job(service("a<b")), on(service("c"), "a<b", Condition::Succeeded)]);
    let drawn = draw(&pair, Format::Svg);
    let body = drawn.split_once("<g transform=\"translate(24 24)\">\n").unwrap().1;
    assert_eq!(
        body,
        "\
<path class=\"line\" marker-end=\"url(#head)\" d=\"M96.0 24.0 C154.0 24.0 154.0 24.0 212.0 24.0\">\
<title>crates/x/Cargo.toml:7: succeeded</title></path>
<g><title>crates/x/Cargo.toml:1</title><rect class=\"box job\" x=\"212.0\" y=\"0.0\" \
width=\"96.0\" height=\"48\" rx=\"24\"/><text class=\"name\" x=\"260.0\" y=\"22.0\">a&lt;b</text>\
<text class=\"below\" x=\"260.0\" y=\"38.0\">job</text></g>
<g><title>crates/x/Cargo.toml:1</title><rect class=\"box\" x=\"0.0\" y=\"0.0\" \
width=\"96.0\" height=\"48\" rx=\"6\"/><text class=\"name\" x=\"48.0\" y=\"29.0\">c</text></g>
<rect class=\"plate\" x=\"119.7\" y=\"16.0\" width=\"68.6\" height=\"16\" rx=\"8\"/>\
<text class=\"label\" x=\"154.0\" y=\"27.5\">succeeded</text>
<path class=\"line waits\" marker-end=\"url(#head)\" d=\"M0 72.0 H36\"/>\
<text class=\"legend\" x=\"46\" y=\"76.0\">waits until it is ready, or for the condition on the line</text>
<rect class=\"box job\" x=\"0\" y=\"88.0\" width=\"36\" height=\"12\" rx=\"6\"/>\
<text class=\"legend\" x=\"46\" y=\"98.0\">a job: runs to completion</text>
</g>
</svg>
"
    );
}

#[test]
fn svg_escapes_xml() {
    let drawn = draw(&strange(), Format::Svg);
    assert!(drawn.contains(">http://x/?q=&lt;1&gt;&amp;r=&quot;2&quot;#3</text>"));
    assert!(!drawn.contains("a\"b"));
}

#[test]
fn svg_of_an_empty_plan_is_valid() {
    let drawn = draw(&plan_of(Vec::new()), Format::Svg);
    assert!(drawn.starts_with("<svg ") && !drawn.contains("NaN") && !drawn.contains("inf"));
}

#[test]
fn layout_orders_columns_to_avoid_crossings() {
    let boxes = [0, 0, 1, 1].map(|column| Size { width: 80.0, height: 48.0, column });
    let layout = place(&boxes, &[(0, 3), (1, 2)]);
    assert!(layout.areas[0].top < layout.areas[1].top);
    assert!(layout.areas[3].top < layout.areas[2].top);
}

#[test]
fn long_lines_of_a_box_share_one_straight_lane() {
    let boxes: Vec<Size> =
        (0..1000).map(|column| Size { width: 80.0, height: 48.0, column }).collect();
    let chain = (1..1000).map(|to| (to - 1, to));
    let layout = place(&boxes, &chain.chain((2..1000).map(|to| (0, to))).collect::<Vec<_>>());
    assert!(layout.curves.iter().all(|curve| curve.len() <= 3));
    assert!(layout.height < 2.0 * 48.0 + 22.0);
}

#[test]
fn boxes_do_not_overlap_and_lines_touch_their_boxes() {
    // 3 to 4 boxes a column, and lines that also skip columns or stay in one.
    let boxes: Vec<Size> = (0..24)
        .map(|i| Size { width: 80.0 + (i % 5) as f64 * 20.0, height: 48.0, column: i * 7 % 6 })
        .collect();
    let lines: Vec<(usize, usize)> =
        (0..40).map(|i| (i * 5 % 24, (i * 11 + 3) % 24)).filter(|(a, b)| a != b).collect();
    let layout = place(&boxes, &lines);
    for (i, a) in layout.areas.iter().enumerate() {
        assert!(a.left >= 0.0 && a.top >= 0.0);
        assert!(a.left + a.width <= layout.width && a.top + a.height <= layout.height + 0.01);
        for b in &layout.areas[i + 1..] {
            let apart = a.left + a.width <= b.left
                || b.left + b.width <= a.left
                || a.top + a.height <= b.top
                || b.top + b.height <= a.top;
            assert!(apart, "{a:?} overlaps {b:?}");
        }
    }
    for (&(from, to), curve) in lines.iter().zip(&layout.curves) {
        for (node, (x, y)) in [(from, curve[0][0]), (to, curve[curve.len() - 1][1])] {
            let area = &layout.areas[node];
            assert!((x - area.left).abs() < 0.01 || (x - area.left - area.width).abs() < 0.01);
            assert!(area.top <= y && y <= area.top + area.height);
        }
    }
}

#[test]
fn two_hundred_services_in_one_column_are_drawn() {
    let mut services: Vec<Service> = (0..200).map(|i| service(&format!("s{i:03}"))).collect();
    let hub = services.iter().fold(service("hub"), |hub, s| on(hub, &s.name, Condition::Ready));
    services.push(hub);
    let plan = plan_of(services);
    assert_eq!(draw(&plan, Format::Text).lines().count(), 201);
    assert_eq!(draw(&plan, Format::Svg).matches("<g><title>").count(), 201);
}
