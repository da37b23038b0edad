"""The page's one style sheet: a column of text, light or dark as the reader has it, from phone to desk."""

import base64
import hashlib

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d1e20; --faint: #62645f; --line: #e2dfd8; --accent: #1a6f8f;
  --gain: #1b6e3c; --harm: #a3322b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17181a; --card: #1f2123; --ink: #e9e7e1; --faint: #a8a7a1; --line: #37383b; --accent: #62b6d6;
    --gain: #7fce9b; --harm: #f0938b; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
}
main { max-width: 58rem; margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1rem, 4vw, 1.5rem) 4rem; }
.eyebrow { margin: 0 0 .75rem; color: var(--faint); font-size: .875rem; overflow-wrap: anywhere; }
h1 {
  margin: 0 0 1rem; font-size: clamp(1.5rem, 4.2vw, 2.125rem); line-height: 1.2; font-weight: 650;
  letter-spacing: -.015em; text-wrap: balance; overflow-wrap: anywhere; font-variant-numeric: tabular-nums;
}
.helped { color: var(--gain); }
.harmed { color: var(--harm); }
.next { margin: 1rem 0 0; max-width: 44rem; color: var(--faint); font-size: .9375rem; }
code { font: .8125rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere; }
.next code {
  display: block; margin-top: .375rem; padding: .625rem .75rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); color: var(--ink); user-select: all;
}
.remarks { margin: 0; padding: 0; list-style: none; max-width: 44rem; color: var(--faint); }
section { margin-top: 3.25rem; }
h2 { margin: 0 0 1rem; padding-top: .75rem; border-top: 1px solid var(--line); font-size: 1.25rem; font-weight: 650; }
h3 { margin: 2.5rem 0 .25rem; font-size: 1rem; font-weight: 650; }
.note { margin: .25rem 0 1.25rem; max-width: 44rem; color: var(--faint); font-size: .9375rem; }
bdi { overflow-wrap: anywhere; }

table { width: 100%; border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .5rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; }
th:first-child { padding-left: 0; text-align: left; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--faint); font-size: .8125rem; font-weight: 500; line-height: 1.3; vertical-align: bottom; }
tbody th { min-width: 6.5em; font-weight: 500; }
td { white-space: nowrap; }
.long { font-size: .875rem; }
.long th, .long td { padding-inline: .375rem; white-space: nowrap; }
.long thead th { white-space: normal; }
.lead th, .lead td { font-weight: 700; }
.lead th { color: var(--accent); }

picture { display: block; }
.plot { display: block; width: 100%; height: auto; }

.gallery, .strip { display: grid; margin: 0; padding: 0; list-style: none; }
.gallery { grid-template-columns: repeat(auto-fill, minmax(min(100%, 17.5rem), 1fr)); gap: 1.25rem; }
.gallery > li { padding: .75rem; border: 1px solid var(--line); border-radius: .625rem; background: var(--card); }
.title { display: flex; gap: .75rem; justify-content: space-between; align-items: baseline; margin: .625rem 0 0; }
.title { font-weight: 650; line-height: 1.3; }
.title small { flex: none; color: var(--faint); font-weight: 400; }
.trio { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .5rem; }
.strip { grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); gap: 1rem .75rem; }
figure { margin: 0; min-width: 0; }
figure > img, .missing {
  display: block; width: 100%; aspect-ratio: 1; border-radius: .25rem; background: var(--line); object-fit: contain;
}
.pixelated { image-rendering: pixelated; }
.missing { display: grid; place-items: center; color: var(--faint); font-size: .8125rem; background: none; }
.missing { border: 1px dashed var(--line); }
figcaption { display: flex; flex-wrap: wrap; gap: 0 .25rem; justify-content: space-between; margin-top: .3rem; }
figcaption { font-size: .75rem; line-height: 1.35; color: var(--faint); }
figcaption span { min-width: 0; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.bar { flex: 0 0 100%; height: .1875rem; margin-top: .2rem; border-radius: .125rem; background: var(--line); }
.bar rect { fill: var(--accent); }

a { color: var(--accent); }
a:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: .2rem; }
nav { display: flex; flex-wrap: wrap; gap: .375rem 1rem; margin: 0 0 1rem; font-size: .9375rem; }
nav a[aria-current] { color: var(--ink); font-weight: 650; text-decoration: none; }
.wide { overflow-x: auto; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(12.25rem, 1fr)); gap: 1rem; margin: 0 0 1.5rem; padding: 0;
  list-style: none;
}
.tiles > li { padding: .625rem; border: 1px solid var(--line); border-radius: .625rem; background: var(--card); min-width: 0; }
.tiles > li.wrong { border-color: var(--harm); }
.tiles > li:target { outline: 3px solid var(--accent); }
.tiles a { display: block; position: relative; }
.tiles img { display: block; width: 100%; height: auto; aspect-ratio: 1; min-width: 10rem; object-fit: contain; }
.tiles img { background: var(--line); border-radius: .25rem; image-rendering: pixelated; }
.tiles img.small { position: absolute; inset: auto .25rem .25rem auto; width: 3rem; min-width: 0; }
.tiles img.small { border: 1px solid var(--card); }
.tiles dl { grid-template-columns: max-content 1fr; gap: 0 .5rem; margin: 0; font-size: .8125rem; }
.tiles .key { margin: .5rem 0 .25rem; font-weight: 650; font-size: .8125rem; overflow-wrap: anywhere; }
.wrong dd:nth-of-type(2) { color: var(--harm); font-weight: 650; }

details { margin-top: .75rem; }
summary { cursor: pointer; color: var(--accent); }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: .2rem; }
pre {
  overflow-x: auto; margin: .75rem 0; padding: 1rem; border: 1px solid var(--line); border-radius: .625rem;
  background: var(--card); font: .8125rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
}
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem; margin: 0 0 1rem; font-size: .9375rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }

@media (max-width: 980px) { .long { display: block; overflow-x: auto; } }
@media (max-width: 760px) {
  thead { display: none; }
  tr { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 0 1.25rem; padding: .75rem 0; }
  .long tr { grid-template-columns: 1fr; }
  tr { border-bottom: 1px solid var(--line); }
  tbody tr:first-child { border-top: 1px solid var(--line); }
  th, td { padding: .125rem 0; border: 0; }
  tbody th { grid-column: 1 / -1; font-weight: 700; }
  td { display: flex; gap: .5rem; justify-content: space-between; }
  td::before { content: attr(data-label); color: var(--faint); font-weight: 400; text-align: left; }
  tr { font-size: .875rem; }
}
@media print { details:not([open]) { display: none; } .gallery > li, .plot { break-inside: avoid; } }
"""

SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()}'"
"""How a content-security policy names this sheet; the page needs no other style, in an element or an attribute."""
