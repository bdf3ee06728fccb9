// Clusters: where users lie in the plane of the first two spectral coordinates, how large each group is, and how its
// taste differs from the average.
import * as api from './api.js';
import { count, empty, fill, fixed, h, loading, plural, svg } from './dom.js';
import { movieLink } from './widgets.js';

const tone = (id) => `tone${id % 8}`;
const swatch = (id) => h('span', { class: `swatch ${tone(id)}`, 'aria-hidden': 'true' });

// A genre's lift: how many times as often as the average. On a logarithmic scale 1/2 is as far left as 2 is right.
function profile(genres, most) {
  const rows = Object.entries(genres).map(([name, { lift }]) => ({ name, lift })).filter((g) => g.lift > 0)
    .sort((a, b) => Math.abs(Math.log(b.lift)) - Math.abs(Math.log(a.lift))).slice(0, most).sort((a, b) => b.lift - a.lift);
  const wide = Math.max(Math.log(2), ...rows.map((g) => Math.abs(Math.log(g.lift))));
  return h('table', { class: 'profile' }, h('caption', { class: 'hidden' }, 'Genres by how much more or less than average they are watched'),
    h('tbody', {}, rows.map(({ name, lift }) => h('tr', {}, h('th', { scope: 'row' }, name),
      h('td', { class: 'lift', vars: { by: Math.abs(Math.log(lift)) / wide } }, h('span', { class: lift >= 1 ? 'more' : 'less', 'aria-hidden': 'true' })),
      h('td', { class: 'number' }, `${fixed(lift, 2)}×`)))));
}

// Shares of all clustered users, as one bar.
function sizes(clusters) {
  const all = clusters.reduce((sum, c) => sum + c.n_users, 0) || 1;
  return h('div', { class: 'sizes', role: 'img', 'aria-label': clusters.map((c) => `cluster ${c.cluster}: ${count(c.n_users)} users`).join(', ') },
    clusters.map((c) => h('span', { class: tone(c.cluster), vars: { share: c.n_users / all }, title: `Cluster ${c.cluster}: ${plural(c.n_users, 'user')}` }, c.n_users / all > 0.06 && c.cluster)));
}

function scatter(points, clusters) {
  const edge = (values, share) => [...values].sort((a, b) => a - b)[Math.floor(share * (values.length - 1))];
  const scale = (name, length) => {
    const values = points.map((p) => p[name]);
    const [low, high] = [edge(values, 0.005), edge(values, 0.995)];
    return (v) => 12 + Math.min(1, Math.max(0, (v - low) / (high - low || 1))) * (length - 24);
  };
  const [x, y] = [scale('x', 640), scale('y', 320)];
  const dots = points.map((p) => svg('circle', { class: tone(p.cluster), cx: x(p.x).toFixed(1), cy: (320 - y(p.y)).toFixed(1), r: 3.5, 'data-user': p.userId },
    svg('title', {}, `User ${p.userId}, cluster ${p.cluster}`)));
  return h('figure', { class: 'map' },
    svg('svg', { viewBox: '0 0 640 320', role: 'img', 'aria-label': `Map of ${count(points.length)} users in ${clusters.length} clusters`,
      onclick: (event) => { if (event.target.dataset.user) location.hash = `#/users/${event.target.dataset.user}`; } }, dots),
    h('figcaption', {}, clusters.map((c) => h('a', { href: `#/clusters/${c.cluster}`, class: 'key' }, swatch(c.cluster), `Cluster ${c.cluster}`)),
      h('span', { class: 'note' }, `${plural(points.length, 'user')}${points.length >= 1500 ? ', a sample' : ''}; near means alike in taste.`)));
}

const facts = (c) => h('p', { class: 'note' }, `${plural(c.n_users, 'user')}, mean rating ${fixed(c.mean_rating, 2)}, ${fixed(c.ratings_per_user, 0)} ratings each`);

export async function clustersView(page) {
  fill(page.main, page.heading('Clusters'), loading('clusters'));
  const { clusters, points } = await api.clusters(1500, page.signal);
  const map = h('div', {});
  fill(page.main, page.heading('Clusters'),
    h('p', { class: 'lead' }, `Users grouped by what they watch, by spectral clustering. ${clusters.length} groups; each bar shows how its taste departs from everyone’s.`),
    sizes(clusters), map,
    h('div', { class: 'cards' }, clusters.map((c) => h('article', { class: 'panel' },
      h('h2', {}, swatch(c.cluster), h('a', { href: `#/clusters/${c.cluster}` }, `Cluster ${c.cluster}`)), facts(c), profile(c.genres, 8)))));
  if (!clusters.length) fill(map, empty('No cluster has members.'));
  if (points.length) fill(map, scatter(points, clusters));
}

export async function clusterView(page) {
  fill(page.main, page.heading(`Cluster ${page.id}`), loading('cluster'));
  const [c, { users }] = await Promise.all([api.cluster(page.id, page.signal), api.someUsers(12, page.id, page.signal)]);
  fill(page.main, page.heading(`Cluster ${page.id}`), facts(c),
    h('div', { class: 'columns' },
      h('section', { class: 'panel' }, h('h2', {}, 'Taste against the average'), profile(c.genres, 20)),
      h('div', {}, h('section', {}, h('h2', {}, 'Most rated'),
        h('ol', { class: 'plain' }, c.top_movies.map((m) => h('li', {}, movieLink(m), ' ', h('span', { class: 'note' }, plural(m.n_ratings, 'rating')))))),
      h('section', {}, h('h2', {}, 'Some of its users'),
        h('ul', { class: 'inline' }, users.map((u) => h('li', {}, h('a', { href: `#/users/${u.id}` }, `User ${u.id}`))))))));
}
