"""Bars, as SVG."""

from xml.sax.saxutils import escape

WIDTH, LABELS, ROW = 720, 170, 26


def bars(title, values):
    """One bar for each value, by its name; the first systems are ours and darker."""
    most = max(values.values()) or 1
    height = ROW * (len(values) + 1) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for at, (name, value) in enumerate(values.items()):
        y = ROW * (at + 1) + 6
        length = (WIDTH - LABELS - 90) * value / most
        colour = "#2a5d84" if name.startswith("Trestle") else "#a9b4bd"
        said = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        out.append(f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{ROW - 8}" fill="{colour}"/>')
        out.append(f'<text x="{LABELS + length + 6:.1f}" y="{y + 14}">{said}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
