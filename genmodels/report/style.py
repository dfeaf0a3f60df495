"""The look of the page: system fonts, one column of text, pictures in up to three, light and dark."""

CSS = """
:root { color-scheme: light dark; --ink: #1c1d21; --soft: #63666f; --rule: #d9dae0; --paper: #fdfdfc; --light: 44%;
  --mark: #e7f1e4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dddee3; --soft: #9699a4; --rule: #3a3c45; --paper: #17181c; --light: 64%; --mark: #24382a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 74rem; background: var(--paper); color: var(--ink);
  font: 0.9375rem/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { container-type: inline-size; }
h1 { font: 400 1.75rem/1.25 Charter, "Iowan Old Style", Georgia, serif; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.0625rem; margin: 2.5rem 0 0.75rem; padding-top: 0.75rem; border-top: 1px solid var(--rule); }
h3 { font-size: 0.9375rem; margin: 1.5rem 0 0.25rem; }
h3 code, small, p, figcaption, thead th, footer { color: var(--soft); }
h3 code { font-weight: 400; }
p { margin: 0.25rem 0 0.75rem; max-width: 44rem; }
footer { margin-top: 3rem; padding-top: 0.75rem; border-top: 1px solid var(--rule); font-size: 0.8125rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20.5rem), 1fr));
  gap: 1.5rem 1.25rem; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure p { font-size: 0.8125rem; margin: 0.25rem 0 0; }
figcaption { margin-bottom: 0.375rem; overflow-wrap: anywhere; }
figcaption b, .run { color: var(--ink); font-weight: 600; }
section:first-child h2 { margin-top: 1.5rem; }
.none { font-style: italic; }
img { display: block; max-width: 100%; height: auto; }
.pixels { image-rendering: pixelated; }
.run::before { content: ""; display: inline-block; width: 0.625em; height: 0.625em; margin-right: 0.4em;
  border-radius: 50%; background: hsl(var(--hue) 62% var(--light)); }
.legend { list-style: none; margin: 0; padding: 0 0 0 0.75rem; font-size: 0.8125rem; display: flex; flex-wrap: wrap;
  gap: 0 1rem; }
.legend .run { font-weight: 400; }
svg { display: block; width: 100%; max-width: 22rem; height: auto; }
svg text { font-size: 11px; fill: var(--soft); }
path { fill: none; stroke-linejoin: round; stroke-linecap: round; stroke: hsl(var(--hue, 0) 62% var(--light)); }
.rule { stroke: var(--rule); stroke-width: 1; }
.line { stroke-width: 1.75; }
.dashed { stroke-dasharray: 5 4; stroke-width: 1.5; }
.dots { stroke-width: 2.6; stroke-opacity: 0.55; }
.ends { stroke-width: 7; }
.lines { stroke-width: 1.5; stroke-opacity: 0.8; }
.faint { stroke: var(--soft); stroke-opacity: 0.28; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.875rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3125rem 1rem 0.3125rem 0; overflow-wrap: anywhere; }
tbody tr { border-top: 1px solid var(--rule); break-inside: avoid; }
thead th { font-weight: 400; overflow-wrap: normal; }
tbody th { font-weight: 400; }
.runs { table-layout: fixed; }
.runs th:first-child, .runs td:first-child { width: 11rem; }
.part { display: block; }
small { display: block; font-size: 0.75rem; line-height: 1.35; }
strong { font-weight: 600; background: var(--mark); padding: 0 0.25em; margin-left: -0.25em; border-radius: 0.2em; }
summary { cursor: pointer; color: var(--soft); margin: 0.75rem 0; }
@container (max-width: 60em) { .overview { display: block; } .overview thead { display: none; } /*stacked*/ }
@container (max-width: /*narrow*/) { .runs { display: block; } .runs thead { display: none; } /*stacked*/ }
@media print { body { max-width: none; padding: 0; font-size: 9pt; } h2 { break-after: avoid; } }
"""

# In a stacked table every row is a block, and every cell a line that begins with the name of its column.
_STACKED = """
  T tbody { display: block; } T tr { display: block; padding: 0.375rem 0; }
  T th, T td { display: grid; grid-template-columns: minmax(6rem, 2fr) 5fr; gap: 0 0.75rem; padding: 0.0625rem 0; }
  T tbody th, T.runs th:first-child { display: block; width: auto; font-weight: 600; }
  T tbody th small { display: inline; font-weight: 400; margin-left: 0.5em; }
  T td::before { content: attr(data-label); color: var(--soft); overflow-wrap: anywhere; }
  T td > * { grid-column: 2; }
  T td.missing { display: none; }
"""
for _name in (".overview", ".runs"):
    CSS = CSS.replace("/*stacked*/", _STACKED.replace("T", _name), 1)
