// Elements, announcements and number formats that all views share. Text only ever becomes text nodes: nothing that
// comes from the server is parsed as HTML.

const SVG = 'http://www.w3.org/2000/svg';

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'vars') for (const [key, v] of Object.entries(value)) element.style.setProperty(`--${key}`, v);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name === 'class' ? 'class' : name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

export const h = (tag, props, ...children) => build(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) => build(document.createElementNS(SVG, tag), props, children);
export const $ = (id) => document.getElementById(id);

// Replaces what `element` holds.
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

// Says something to screen readers without moving anything on the screen.
export function announce(text) {
  const news = $('news');
  news.textContent = news.textContent === text ? `${text}\u00a0` : text;
}

export function toast(text) {
  const note = h('div', { class: 'toast' }, h('span', {}, text),
    h('button', { type: 'button', class: 'quiet', 'aria-label': 'Close this message', onclick: () => note.remove() }, '×'));
  $('toasts').append(note);
  while ($('toasts').children.length > 3) $('toasts').firstChild.remove();
  setTimeout(() => note.remove(), 9000);
}

export const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

export const loading = (what) => h('p', { class: 'state', role: 'status' }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), `Loading ${what} …`);
export const empty = (...children) => h('p', { class: 'state' }, ...children);
export const failed = (error, retry) => h('div', { class: 'state bad', role: 'alert' }, h('p', {}, error.message),
  retry && h('button', { type: 'button', onclick: retry }, 'Try again'));

export const count = (n) => Number(n).toLocaleString('en');
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const fixed = (x, digits) => (x === null || x === undefined || !Number.isFinite(x) ? '–' : x.toFixed(digits));
export const stars = (x) => `${Number(x).toFixed(1)} ${Number(x) === 1 ? 'star' : 'stars'}`;

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 2 : seconds < 0.1 ? 1 : 0)} ms`;
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB'];
  let unit = 0;
  while (n >= 1000 && unit < 3) { n /= 1000; unit++; }
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

// "Matrix, The (1999)" as it stands on a marquee: { name: "The Matrix", year: "1999" }.
export function marquee(title) {
  const [, rest, year] = /^(.*?)(?:\s*\((\d{4})(?:[-–]\d{0,4})?\))?\s*$/.exec(title);
  const name = rest.replace(/^([^(]*?), (The|A|An|Le|La|Les|L'|Il|Lo|Los|Las|El|Der|Die|Das|Det|Den|En|Un|Une)(?= \(|$)/,
    (_, noun, article) => (article.endsWith("'") ? article + noun : `${article} ${noun}`));
  return { name, year: year ?? '' };
}
