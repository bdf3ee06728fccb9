// Runs before the first paint, so that a chosen theme does not flash in. "" follows the system.
(() => {
  let theme = '';
  try { theme = localStorage.getItem('reel.theme') ?? ''; } catch { /* storage is off: follow the system */ }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
