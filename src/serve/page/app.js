// Boot, routes and theme. A route is a hash, "#/users/42?model=svd"; its view draws into <main> and stops everything it
// started when the abort signal it got fires.
import * as api from './api.js';
import { $, announce, count, failed, fill, h, toast } from './dom.js';
import home from './view_home.js';
import { userView, usersView } from './view_users.js';
import { movieView, moviesView } from './view_movies.js';
import { clusterView, clustersView } from './view_clusters.js';
import jobs from './view_jobs.js';
import server from './view_server.js';
import { keyForm } from './widgets.js';

const ROUTES = [
  [/^\/$/, home, 'home'],
  [/^\/users$/, usersView, 'users'],
  [/^\/users\/(\d+)$/, userView, 'users'],
  [/^\/movies$/, moviesView, 'movies'],
  [/^\/movies\/(\d+)$/, movieView, 'movies'],
  [/^\/clusters$/, clustersView, 'clusters'],
  [/^\/clusters\/(\d+)$/, clusterView, 'clusters'],
  [/^\/jobs$/, jobs, 'jobs'],
  [/^\/server$/, server, 'server'],
];

let running = new AbortController();

// What a view is given: where it draws, what it was asked for, and helpers that end with it.
function frame(id, query) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  return {
    main: $('main'), signal, id, query,
    // Runs fn now and every `ms` while the tab is seen; failures of a poll are not worth a message each.
    every(ms, fn) {
      const tick = () => { if (!document.hidden) fn().catch(() => {}); };
      const timer = setInterval(tick, ms);
      signal.addEventListener('abort', () => clearInterval(timer));
      return fn();
    },
    // Heading of the view: the page's title, and where focus goes.
    heading(text, ...more) {
      document.title = text ? `${text} – Reel` : 'Reel';
      return h('h1', { tabindex: '-1' }, text, ...more);
    },
    // Remembers form values in the address without drawing again.
    remember(values) {
      const set = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
      history.replaceState(null, '', location.hash.split('?')[0] + (set.size ? `?${set}` : ''));
    },
  };
}

async function show(first) {
  const [path, search = ''] = (location.hash.slice(1) || '/').split('?');
  if (!path.startsWith('/')) return;
  const [pattern, view, name] = ROUTES.find(([candidate]) => candidate.test(path)) ?? [];
  for (const link of document.querySelectorAll('nav a')) {
    if (link.dataset.view === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const page = frame(pattern ? Number(pattern.exec(path)[1]) : 0, new URLSearchParams(search));
  const { signal } = page;
  $('toasts').replaceChildren();
  if (!first) scrollTo(0, 0);
  try {
    fill(page.main);
    if (!view) throw new Error('There is no such page here.');
    await view(page);
  } catch (error) {
    if (signal.aborted) return;
    const heading = page.main.querySelector('h1') ?? page.heading('This did not work');
    fill(page.main, heading, error.status === 401 ? keyForm('This server wants one.', () => { show(true); footer(); }) : failed(error, error.status === 404 ? null : () => show(true)));
  }
  // A visitor who is at a field of the view already stays there.
  if (!first && !signal.aborted && !page.main.querySelector(':focus')) page.main.querySelector('h1')?.focus({ preventScroll: true });
}

const THEMES = { '': ['◐', 'as the system'], light: ['○', 'light'], dark: ['●', 'dark'] };

function themeButton() {
  const button = $('theme');
  const now = () => document.documentElement.dataset.theme ?? '';
  const draw = () => {
    const [mark, words] = THEMES[now()];
    fill(button, h('span', { 'aria-hidden': 'true' }, mark), h('span', { class: 'hidden' }, `Theme: ${words}`));
    button.title = `Theme: ${words}`;
  };
  button.addEventListener('click', () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(now()) + 1) % names.length];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    try { localStorage.setItem('reel.theme', next); } catch { /* lasts for this tab only */ }
    draw();
    announce(`Theme: ${THEMES[next][1]}`);
  });
  draw();
}

async function footer() {
  const { dataset, models } = await api.models().catch(() => ({}));
  if (!models) return;
  fill($('loaded'), `${count(dataset.n_ratings)} ratings of ${count(dataset.n_movies)} movies by ${count(dataset.n_users)} users`,
    models.length > 0 && ` · ${models.map((model) => model.name).join(', ')}`);
}

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  $('main').focus();
  $('main').scrollIntoView();
});
addEventListener('hashchange', () => show(false));
addEventListener('unhandledrejection', (event) => { if (event.reason?.name !== 'AbortError') toast(event.reason?.message ?? 'Something failed.'); });
themeButton();
show(true);
footer();
