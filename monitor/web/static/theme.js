// Before anything is drawn: the theme that was chosen, else that of the system.
(function () {
  let wanted = null;
  try { wanted = localStorage.getItem("quicklook.theme"); } catch { /* storage is switched off */ }
  if (wanted === '"dark"' || wanted === '"light"') document.documentElement.dataset.theme = JSON.parse(wanted);
})();
