// Users: pick one, then see what they rated beside what a model recommends to them, with reasons and uncertainty.
import * as api from './api.js';
import { announce, count, empty, failed, fill, fixed, h, loading, plural } from './dom.js';
import { field, histogram, movieCard, reasons, score, select, settle } from './widgets.js';

const userCard = (user) => h('li', { class: 'tile' }, h('a', { href: `#/users/${user.id}` }, `User ${user.id}`),
  h('span', { class: 'note' }, `${plural(user.n_ratings, 'rating')}, mean ${fixed(user.mean_rating, 2)}`,
    user.cluster !== null && ` · cluster ${user.cluster}`));

export async function usersView(page) {
  const list = h('ul', { class: 'tiles' });
  const id = h('input', { type: 'text', inputmode: 'numeric', pattern: '[0-9]+', id: 'user-id', required: true, placeholder: 'e.g. 42', autocomplete: 'off' });
  const go = (event) => {
    event.preventDefault();
    if (id.checkValidity()) location.hash = `#/users/${Number(id.value)}`;
  };
  const draw = async () => {
    const { users } = await api.someUsers(24, undefined, page.signal);
    fill(list, users.map(userCard));
  };
  const random = async () => {
    const { users } = await api.someUsers(1, undefined, page.signal);
    if (users.length) location.hash = `#/users/${users[0].id}`;
  };
  fill(page.main, page.heading('Users'),
    h('p', { class: 'lead' }, 'Open somebody of the data set: what they rated, and what a model would have them watch next.'),
    h('form', { class: 'controls', onsubmit: go, role: 'search' }, field('User id', id), h('button', { type: 'submit', class: 'primary' }, 'Open'),
      h('button', { type: 'button', onclick: random }, 'Somebody at random')),
    h('div', { class: 'row' }, h('h2', {}, 'A few of them'), h('button', { type: 'button', class: 'quiet', onclick: draw }, 'Others')), list);
  fill(list, h('li', {}, loading('users')));
  await draw();
}

function controls(page, models, genres, changed) {
  const { query } = page;
  const inputs = {
    model: select(models.map((m) => [m.name, m.name]), query.get('model') ?? models[0].name),
    genre: select([['', 'all'], ...genres.map((g) => [g, g])], query.get('genre')),
    year_from: h('input', { type: 'number', min: 1870, max: 2100, value: query.get('year_from') ?? '', placeholder: 'any' }),
    year_to: h('input', { type: 'number', min: 1870, max: 2100, value: query.get('year_to') ?? '', placeholder: 'any' }),
    min_ratings: select([['', 'any'], ['10', '10 or more'], ['50', '50 or more'], ['200', '200 or more']], query.get('min_ratings')),
  };
  const values = () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
  const later = settle(() => { page.remember(values()); changed(values()); }, 200);
  for (const input of Object.values(inputs)) input.addEventListener('input', later);
  const names = { model: 'Model', genre: 'Genre', year_from: 'From year', year_to: 'To year', min_ratings: 'Rated by' };
  const form = h('form', { class: 'controls', 'aria-label': 'Filters', onsubmit: (event) => event.preventDefault() },
    Object.entries(inputs).map(([name, input]) => field(names[name], input)));
  return { form, values };
}

function recommendedTo(page, models, genres) {
  const list = h('ol', { class: 'movies ranked', id: 'recommended' });
  const state = h('div', {});
  const more = h('button', { type: 'button', hidden: true }, 'Show more');
  let shown = 0;
  let last = {};
  const load = async (values, offset) => {
    last = values;
    fill(state, loading('recommendations'));
    try {
      const { recommendations: items } = await api.recommendations(page.id, { ...values, limit: 20, offset, explain: 1 }, page.signal);
      if (last !== values) return;
      if (!offset) list.replaceChildren();
      list.append(...items.map((item) => movieCard(item, { aside: score(item.score, item.sd), extra: reasons(item.because) })));
      shown = offset + items.length;
      more.hidden = items.length < 20;
      fill(state, !shown && empty('Nothing is left to recommend with these filters.'));
      announce(`${shown} recommendations shown`);
    } catch (error) {
      if (!page.signal.aborted) fill(state, failed(error, () => load(values, offset)));
    }
  };
  more.addEventListener('click', () => load(last, shown));
  if (!models.length) return h('section', { class: 'panel' }, h('h2', {}, 'Recommended'), empty('No model is loaded.'));
  const { form, values } = controls(page, models, genres, (now) => load(now, 0));
  load(values(), 0);
  return h('section', { class: 'panel', 'aria-labelledby': 'rec-title' }, h('h2', { id: 'rec-title' }, 'Recommended'), form, list, state, more);
}

const tagList = (tags) => tags?.length > 0 && h('p', { class: 'note' }, tags.map((tag) => `“${tag}”`).join(', '));

function rated(movies) {
  const list = h('ul', { class: 'movies' });
  const more = h('button', { type: 'button' }, 'Show more');
  const add = () => {
    const from = list.children.length;
    list.append(...movies.slice(from, from + 10).map((m) => movieCard({ ...m, id: m.movieId }, {
      extra: tagList(m.tags), aside: h('span', { class: 'given' }, h('span', { 'aria-hidden': 'true' }, '★ '), m.rating.toFixed(1), h('span', { class: 'hidden' }, ' stars')),
    })));
    more.hidden = list.children.length >= movies.length;
  };
  more.addEventListener('click', add);
  add();
  return h('section', { 'aria-labelledby': 'rated-title' }, h('h2', { id: 'rated-title' }, 'Rated'), histogram(movies.map((m) => m.rating)), list, more);
}

export async function userView(page) {
  fill(page.main, page.heading(`User ${page.id}`), loading('ratings'));
  const [{ movies }, { models, dataset }, { users }] = await Promise.all([
    api.user(page.id, page.signal), api.models(page.signal), api.users({ cursor: page.id, limit: 1 }, page.signal)]);
  const mean = movies.length ? movies.reduce((sum, m) => sum + m.rating, 0) / movies.length : NaN;
  const cluster = users[0]?.id === page.id ? users[0].cluster : null;
  fill(page.main, page.heading(`User ${page.id}`),
    h('p', { class: 'lead' }, `${count(movies.length)} movies rated, ${fixed(mean, 2)} stars on average`,
      cluster !== null && [', in ', h('a', { href: `#/clusters/${cluster}` }, `cluster ${cluster}`)], '.'),
    h('div', { class: 'columns' }, rated(movies), recommendedTo(page, models, dataset.genres)));
}
