"""The drawing of a run's state machine: SVG whose text is escaped and whose colours come from the page's styles."""

from __future__ import annotations

from html import escape

from topic_model_cli.report.graph import Edge, Graph, Node, build_graph
from topic_model_cli.summary import RunSummary

_WIDTH, _HEIGHT = 188, 42
_COLUMN_STEP, _LAYER_STEP = 238, 66
_LANE_STEP = 16
_MARGIN = 14


def draw(summary: RunSummary) -> str:
    """The SVG of a run's state machine; text in it is escaped, colours come from the page's style sheet."""
    graph = build_graph(summary.definition, summary.states)
    if not graph.nodes:
        return ""
    lanes = _lanes(graph)
    left = _MARGIN + _LANE_STEP * (max(lanes.values(), default=-1) + 1) + 8
    columns = max(node.column for node in graph.nodes.values()) + 1
    width = left + (columns - 1) * _COLUMN_STEP + _WIDTH + _MARGIN
    height = 2 * _MARGIN + max(node.layer for node in graph.nodes.values()) * _LAYER_STEP + _HEIGHT
    parts = [
        f'<svg class="machine" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="State machine of the run: {len(graph.nodes)} states">',
        "<defs>"
        + "".join(
            f'<marker id="arrow-{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path class="head {kind}" d="M0 0 8 4 0 8z"/></marker>'
            for kind in ("taken", "open")
        )
        + "</defs>",
    ]
    # Ways that were taken come last, so that they lie on top.
    for edge in sorted(graph.edges, key=lambda edge: (edge.source, edge.target) in graph.taken):
        parts.append(_edge_svg(graph, edge, left, lanes))
    parts += [_node_svg(node, left) for node in graph.nodes.values()]
    parts.append("</svg>")
    return "".join(parts)


def _lanes(graph: Graph) -> dict[Edge, int]:
    """A lane left of the spine for each edge within the spine that passes a state by."""
    lanes: dict[Edge, int] = {}
    spans: list[list[tuple[int, int]]] = []
    passing = []
    for edge in graph.edges:
        source, target = graph.nodes[edge.source], graph.nodes[edge.target]
        if source.column == target.column == 0 and target.layer != source.layer + 1:
            passing.append((edge, min(source.layer, target.layer), max(source.layer, target.layer)))
    for edge, top, bottom in sorted(passing, key=lambda entry: entry[2] - entry[1]):
        lane = next(
            (
                number
                for number, used in enumerate(spans)
                if all(bottom <= other_top or top >= other_bottom for other_top, other_bottom in used)
            ),
            len(spans),
        )
        if lane == len(spans):
            spans.append([])
        spans[lane].append((top, bottom))
        lanes[edge] = lane
    return lanes


def _corner(node: Node, left: int) -> tuple[int, int]:
    return left + node.column * _COLUMN_STEP, _MARGIN + node.layer * _LAYER_STEP


def _edge_svg(graph: Graph, edge: Edge, left: int, lanes: dict[Edge, int]) -> str:
    source, target = graph.nodes[edge.source], graph.nodes[edge.target]
    (x1, y1), (x2, y2) = _corner(source, left), _corner(target, left)
    half_w, half_h = _WIDTH // 2, _HEIGHT // 2
    # A neighbour to the right leaves no room for a label beside a Choice.
    crowded = target.column > source.column and any(
        (node.layer, node.column) == (source.layer, source.column + 1) for node in graph.nodes.values()
    )
    label_at: tuple[float, float] = (x1 + half_w + 6, y1 + _HEIGHT + 14)
    if edge in lanes:
        x = left - 10 - lanes[edge] * _LANE_STEP
        path = _around(x1, y1 + half_h + 8, x, x2, y2 + half_h - 8)
    elif source.column == target.column:
        path = f"M{x1 + half_w} {y1 + _HEIGHT}V{y2 - 1}"
    elif target.column > source.column:
        if _blocked(graph, source, target):
            path = _by_the_gap(source, x1 + _WIDTH, y1 + half_h, target, x2, y2)
        else:
            path = f"M{x1 + _WIDTH} {y1 + half_h}H{x2 + half_w - 9}Q{x2 + half_w} {y1 + half_h} {x2 + half_w} "
            path += f"{y1 + half_h + 9}V{y2 - 1}" if y1 < y2 else f"{y1 + half_h - 9}V{y2 + _HEIGHT + 1}"
            if y1 == y2:
                path = f"M{x1 + _WIDTH} {y1 + half_h}H{x2 - 1}"
        label_at = (x1 + _WIDTH + 4, y1 + half_h - 5)
    elif target.layer <= source.layer:
        path = f"M{x1 + half_w} {y1}V{y2 + half_h + 9}Q{x1 + half_w} {y2 + half_h} {x1 + half_w - 9} {y2 + half_h}"
        path += f"H{x2 + _WIDTH + 1}"
        label_at = (x1 + half_w + 4, y1 - 8)
    else:
        path = f"M{x1 + half_w} {y1 + _HEIGHT}V{y2 + half_h - 9}Q{x1 + half_w} {y2 + half_h} "
        path += f"{x1 + half_w - 9} {y2 + half_h}H{x2 + _WIDTH + 1}"
    taken = "taken" if (edge.source, edge.target) in graph.taken else "open"
    label = (
        f'<text class="edge-label" x="{label_at[0]}" y="{label_at[1]}">{escape(edge.label)}</text>'
        if edge.label and edge not in lanes and not crowded
        else ""
    )
    return f'<path class="edge {taken} {edge.kind}" d="{path}" marker-end="url(#arrow-{taken})"/>{label}'


def _around(x1: int, y1: int, x: int, x2: int, y2: int) -> str:
    """From a side to the left, along a lane, and back to a side; corners are rounded."""
    turn = 8 if y2 > y1 else -8
    return f"M{x1} {y1}H{x + 8}Q{x} {y1} {x} {y1 + turn}V{y2 - turn}Q{x} {y2} {x + 8} {y2}H{x2 - 1}"


def _blocked(graph: Graph, source: Node, target: Node) -> bool:
    """Whether a state stands on the way to the right and then down."""
    low, high = sorted((source.layer, target.layer))
    return any(
        node not in (source, target)
        and (
            (node.layer == source.layer and source.column < node.column <= target.column)
            or (node.column == target.column and low < node.layer < high)
        )
        for node in graph.nodes.values()
    )


def _by_the_gap(source: Node, x1: int, y1: int, target: Node, x2: int, top: int) -> str:
    """To the right into the gap between columns, down or up there, and on to a side, or to the top where it is far."""
    gap, middle = x1 + (_COLUMN_STEP - _WIDTH) // 2, top + _HEIGHT // 2
    far = target.column - source.column > 1
    y2 = top - 12 if far else middle
    turn = 8 if y2 > y1 else -8
    path = f"M{x1} {y1}H{gap - 8}Q{gap} {y1} {gap} {y1 + turn}V{y2 - turn}Q{gap} {y2} {gap + 8} {y2}"
    return path + (f"H{x2 + _WIDTH // 2}V{top - 1}" if far else f"H{x2 - 1}")


def _node_svg(node: Node, left: int) -> str:
    x, y = _corner(node, left)
    state = node.outcome if node.visited else "unreached"
    shape = f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/>'
    if node.kind == "Choice":
        cut, right, bottom, middle = 16, x + _WIDTH, y + _HEIGHT, y + _HEIGHT // 2
        shape = (
            f'<path d="M{x} {middle}L{x + cut} {y}H{right - cut}L{right} {middle}L{right - cut} {bottom}H{x + cut}z"/>'
        )
    elif node.kind in ("Map", "Parallel"):
        shape = f'<rect x="{x + 5}" y="{y + 5}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/>' + shape
    title = "; ".join((f"{node.name} ({node.kind})", *(node.details or ["not reached"])))
    middle_x = x + _WIDTH // 2
    name_y = y + _HEIGHT // 2 + (-3 if node.lines else 4)
    second = (
        f'<text class="seconds" x="{middle_x}" y="{y + _HEIGHT // 2 + 14}">{escape(" · ".join(node.lines))}</text>'
        if node.lines
        else ""
    )
    return (
        f'<g class="state {state} {node.kind.lower()}"><title>{escape(title)}</title>{shape}'
        f'<text class="name" x="{middle_x}" y="{name_y}">{escape(node.name[:30])}</text>{second}</g>'
    )
